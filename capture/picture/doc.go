// Package picture owns how rules look to people: readings of them in, text out.
//
// # The forms
//
//	save     as iptables-save prints the rules
//	tree     for a terminal: each hook, the chains that it calls, each rule with its reason
//	table    for a terminal: chain by chain, one rule a line
//	json     for programs; the names of its fields stay
//	dot      for Graphviz: the ways of a packet
//	mermaid  the same for Markdown
//
// The first four show every rule, those of others too, once. The pictures fold
// rules of one kind and those of others, so that they stay readable however
// many there are; what is folded is counted.
//
// # Two families
//
// Readings of both families are shown once where they differ in nothing but
// addresses: what differs stands as IPV4|IPV6. Otherwise each is shown by itself.
// In JSON they always are.
//
// # What is safe
//
// The names of interfaces and chains and the comments of rules may come from
// anybody. What a terminal or a viewer could take for more than text is escaped: in
// every form but save and json characters that do not print are shown as \x1b.
//
// Everything here is pure: the same readings always look the same.
package picture
