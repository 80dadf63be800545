// Package picture shows rules to people: it turns readings of rules into text.
//
// # The formats
//
//	save     as iptables-save prints the rules
//	tree     for a terminal: each hook, the chains that it calls, each rule with its reason
//	table    for a terminal: chain by chain, one rule a line
//	json     for programs; the names of its fields do not change
//	dot      a graph for graphviz: the ways of packets
//	mermaid  the same graph in Markdown
//
// The first four show every rule once, foreign ones too.
//
// # The graph
//
// Packets come from peers or from a process of the pod, pass the built-in chains and
// what they call, and end at a port of the proxy, at their destination or nowhere. A
// chain is a table of its rules in their order; consecutive rules of one kind are one
// row. An edge leaves the row of the rule that takes a packet. A packet that no rule of
// a chain takes leaves by the row "otherwise". Where a chain returns and the caller has
// further rules, an edge leads back to the next one.
//
// Each edge is the way of some packet, by iptables.Trace; a test compares them. A
// built-in chain of nat sees only the first packet of a connection. INPUT, FORWARD,
// POSTROUTING and the tables after nat at OUTPUT redirect nothing: their ways are drawn
// by themselves, and only where they have rules.
//
// The size of a graph is bounded. A long list and its branches are one node, rows and
// chains beyond some number are one row and one node that say so.
//
// # Two families
//
// Two families that differ only in addresses are shown once, with IPV4|IPV6 where
// addresses differ. Otherwise each has its own picture. In JSON they always have.
//
// # What is safe
//
// Anybody may have chosen the names of interfaces and chains and the comments of rules.
// What a terminal or a viewer could take for more than text is escaped: in every format
// but save and json, characters that do not print become \x1b.
//
// Everything here is pure: the same readings always give the same text.
package picture
