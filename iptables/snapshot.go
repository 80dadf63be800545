package iptables

import (
	"slices"
	"strings"
	"unicode"

	"istio-init/netutil/inet"
)

// A Snapshot is the state of one family as iptables-save prints it, without
// counters and comments. The zero Snapshot is an empty IPv4 namespace.
type Snapshot struct {
	Family inet.Family
	tables []savedTable
	// unreadable are tables that iptables-nft-save found but could not print,
	// since rules that iptables cannot express are in them.
	unreadable []string
	// same are rules that iptables knows to be rules of ours although the types cannot
	// express them: by their text, ours.
	same map[string]string
}

type savedTable struct {
	name   string
	chains []savedChain
}

// A savedChain has the policy "-" when it is not built in, and its rules as they
// stand after "-A NAME ".
type savedChain struct {
	name, policy string
	rules        []string
}

func (t savedTable) find(chain string) int {
	return slices.IndexFunc(t.chains, func(c savedChain) bool { return c.name == chain })
}

// index tells where each chain is; of chains of one name, the first.
func (t savedTable) index() map[string]int {
	at := make(map[string]int, len(t.chains))
	for i := len(t.chains) - 1; i >= 0; i-- {
		at[t.chains[i].name] = i
	}
	return at
}

func (t savedTable) rules(chain string) []string {
	if i := t.find(chain); i >= 0 {
		return t.chains[i].rules
	}
	return nil
}

func (s Snapshot) table(name string) savedTable { return tableOf(s.tables, name) }

// tableOf returns the table of that name; an empty one when it is not there.
func tableOf(tables []savedTable, name string) savedTable {
	if i := slices.IndexFunc(tables, func(t savedTable) bool { return t.name == name }); i >= 0 {
		return tables[i]
	}
	return savedTable{name: name}
}

func (s Snapshot) has(table string) bool {
	return slices.ContainsFunc(s.tables, func(t savedTable) bool { return t.name == table })
}

// String returns the state in the form of iptables-save without comments:
// tables by name, built-in chains in the order of their hooks, then the others
// by name.
func (s Snapshot) String() string {
	var b strings.Builder
	tables := slices.Clone(s.tables)
	slices.SortFunc(tables, func(x, y savedTable) int { return strings.Compare(x.name, y.name) })
	for _, t := range tables {
		writeLine(&b, "*", t.name)
		chains := t.sorted()
		for _, c := range chains {
			writeLine(&b, ":", c.name, " ", c.policy, " [0:0]")
		}
		for _, c := range chains {
			for _, r := range c.rules {
				writeRule(&b, c.name, r)
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// writeRule writes the line that adds a rule; a rule that matches everything and
// does nothing has no text.
func writeRule(b *strings.Builder, chain, rule string) {
	if rule == "" {
		writeLine(b, "-A ", chain)
		return
	}
	writeLine(b, "-A ", chain, " ", strings.TrimSuffix(rule, " "))
}

// sorted returns the chains in the order in which iptables-save prints them.
func (t savedTable) sorted() []savedChain {
	rank := func(c savedChain) int {
		if i := slices.Index(BuiltinChains(t.name), c.name); i >= 0 {
			return i
		}
		return len(BuiltinChains(t.name))
	}
	chains := slices.Clone(t.chains)
	slices.SortStableFunc(chains, func(x, y savedChain) int {
		if d := rank(x) - rank(y); d != 0 {
			return d
		}
		return strings.Compare(x.name, y.name)
	})
	return chains
}

// Ours tells whether anything of ours is in the state.
func (s Snapshot) Ours() bool { return slices.ContainsFunc(s.tables, savedTable.ours) }

func (t savedTable) ours() bool {
	return slices.ContainsFunc(t.chains, func(c savedChain) bool {
		return Own(c.name) || c.policy != "-" && slices.ContainsFunc(c.rules, jumpsToOurs)
	})
}

// OurChains returns the chains that are ours, as "table chain".
func (s Snapshot) OurChains() []string {
	var names []string
	for _, t := range s.tables {
		for _, c := range t.chains {
			if Own(c.name) {
				names = append(names, t.name+" "+c.name)
			}
		}
	}
	return names
}

// TableNames returns the names of the tables.
func (s Snapshot) TableNames() []string {
	names := make([]string, len(s.tables))
	for i := range s.tables {
		names[i] = s.tables[i].name
	}
	return names
}

// Identified returns the state in which rules that the types cannot express are known to be
// rules of ours: by their text, ours.
func (s Snapshot) Identified(same map[string]string) Snapshot {
	s.same = same
	return s
}

// Chains returns the names of the chains of a table.
func (s Snapshot) Chains(table string) []string {
	var names []string
	for _, c := range s.table(table).chains {
		names = append(names, c.name)
	}
	return names
}

// Rules returns how many rules the state has, ours and others'.
func (s Snapshot) Rules() int {
	n := 0
	for _, t := range s.tables {
		for _, c := range t.chains {
			n += len(c.rules)
		}
	}
	return n
}

// Unreadable returns the tables that hold what iptables cannot express, so that
// no rule can be added to them either.
func (s Snapshot) Unreadable() []string { return slices.Clone(s.unreadable) }

// jumpsToOurs tells whether a rule only jumps to one of our chains. Nothing
// follows the chain of a jump, so the last two words decide; when they are part of
// a quoted text, the quote ends with them.
func jumpsToOurs(rule string) bool {
	rest, chain := cutLastWord(rule)
	if !Own(chain) || strings.HasSuffix(rule, `"`) {
		return false
	}
	_, flag := cutLastWord(rest)
	return flag == "-j" || flag == "-g"
}

func cutLastWord(text string) (rest, last string) {
	text = strings.TrimRightFunc(text, unicode.IsSpace)
	at := 1 + strings.LastIndexFunc(text, unicode.IsSpace)
	return text[:at], text[at:]
}
