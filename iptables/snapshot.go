package iptables

import (
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

// A Snapshot is the live state of one family as iptables-save prints it, without counters
// and comments. The zero Snapshot is an empty IPv4 namespace.
type Snapshot struct {
	Family inet.Family
	Tables []LiveTable
	// Unreadable are tables that hold rules that iptables cannot express, so that
	// iptables-nft-save does not print them.
	Unreadable []string
	// Incomplete are tables that also have base chains that iptables-nft-save does not print.
	// Packets enter these besides the built-in chains.
	Incomplete []string
}

// A LiveTable is a table with its chains in the order in which they were printed.
type LiveTable struct {
	Name   string
	Chains []LiveChain
}

// A LiveChain is a chain with its rules. Its policy is "-" when it is not built in.
type LiveChain struct {
	Name, Policy string
	Rules        []LiveRule
}

// A LiveRule is a rule as iptables-save prints it behind "-A CHAIN ", and what it says.
// Rule.Foreign is what the types cannot express.
type LiveRule struct {
	Text string
	Rule Rule
}

func (t LiveTable) find(chain string) int {
	return slices.IndexFunc(t.Chains, func(c LiveChain) bool { return c.Name == chain })
}

// index returns where each chain is; of chains of one name, the first.
func (t LiveTable) index() map[string]int {
	at := make(map[string]int, len(t.Chains))
	for i, c := range slices.Backward(t.Chains) {
		at[c.Name] = i
	}
	return at
}

// Chain returns the chain of that name; one without rules when it is not there.
func (t LiveTable) Chain(name string) LiveChain {
	if i := t.find(name); i >= 0 {
		return t.Chains[i]
	}
	return LiveChain{Name: name, Policy: "-"}
}

// Empty reports whether a table has no rule, no chain but the built-in ones, and no policy
// but ACCEPT.
func (t LiveTable) Empty() bool {
	return !slices.ContainsFunc(t.Chains, func(c LiveChain) bool {
		return c.Policy != Accept.String() || len(c.Rules) > 0
	})
}

// Table returns the table of that name; one without chains when it is not there.
func (s Snapshot) Table(name string) LiveTable { return tableOf(s.Tables, name) }

func tableOf(tables []LiveTable, name string) LiveTable {
	if i := slices.IndexFunc(tables, func(t LiveTable) bool { return t.Name == name }); i >= 0 {
		return tables[i]
	}
	return LiveTable{Name: name}
}

func (s Snapshot) has(table string) bool {
	return slices.ContainsFunc(s.Tables, func(t LiveTable) bool { return t.Name == table })
}

// At returns the rule of a place; a zero rule when none is there.
func (s Snapshot) At(at Place) LiveRule {
	rules := s.Table(at.Table).Chain(at.Chain).Rules
	if at.Index < 0 || at.Index >= len(rules) {
		return LiveRule{}
	}
	return rules[at.Index]
}

// TextAt returns the rule of a place for people, as "TABLE CHAIN: RULE".
func (s Snapshot) TextAt(at Place) string { return at.Table + " " + at.Chain + ": " + s.At(at).Text }

// String returns the state in the form of iptables-save without comments: tables by name,
// built-in chains in the order of their hooks, then the others by name.
func (s Snapshot) String() string {
	var b strings.Builder
	tables := slices.Clone(s.Tables)
	slices.SortFunc(tables, func(x, y LiveTable) int { return strings.Compare(x.Name, y.Name) })
	for _, t := range tables {
		writeLine(&b, "*", t.Name)
		chains := t.sorted()
		for _, c := range chains {
			writeLine(&b, ":", c.Name, " ", c.Policy, " [0:0]")
		}
		for _, c := range chains {
			for _, r := range c.Rules {
				writeRule(&b, c.Name, r.Text)
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// writeRule writes the line that adds a rule; a rule that matches everything and does
// nothing has no text.
func writeRule(b *strings.Builder, chain, rule string) {
	if rule == "" {
		writeLine(b, "-A ", chain)
		return
	}
	writeLine(b, "-A ", chain, " ", strings.TrimSuffix(rule, " "))
}

// sorted returns the chains in the order in which iptables-save prints them.
func (t LiveTable) sorted() []LiveChain {
	rank := func(c LiveChain) int {
		if i := slices.Index(BuiltinChains(t.Name), c.Name); i >= 0 {
			return i
		}
		return len(BuiltinChains(t.Name))
	}
	chains := slices.Clone(t.Chains)
	slices.SortStableFunc(chains, func(x, y LiveChain) int {
		if d := rank(x) - rank(y); d != 0 {
			return d
		}
		return strings.Compare(x.Name, y.Name)
	})
	return chains
}

// TableNames returns the names of the tables.
func (s Snapshot) TableNames() []string {
	names := make([]string, len(s.Tables))
	for i := range s.Tables {
		names[i] = s.Tables[i].Name
	}
	return names
}

// ChainNames returns the names of the chains of a table.
func (s Snapshot) ChainNames(table string) []string {
	var names []string
	for _, c := range s.Table(table).Chains {
		names = append(names, c.Name)
	}
	return names
}

// Rules returns how many rules the state has, ours and foreign ones.
func (s Snapshot) Rules() int {
	n := 0
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			n += len(c.Rules)
		}
	}
	return n
}

// Ruleset returns the rules of everybody in their order, with the policies of built-in
// chains. Rules with a Foreign part can be traced and printed, and are refused by
// [Ruleset.Validate]: they are not ours to make.
func (s Snapshot) Ruleset() Ruleset {
	rs := Ruleset{Family: s.Family}
	for _, live := range s.Tables {
		t := Table{Name: live.Name}
		for _, c := range live.sorted() {
			chain := Chain{Name: c.Name}
			if c.Policy == Drop.String() {
				chain.Policy = Drop
			}
			for i := range c.Rules {
				chain.Rules = append(chain.Rules, c.Rules[i].Rule)
			}
			t.Chains = append(t.Chains, chain)
		}
		rs.Tables = append(rs.Tables, t)
	}
	return rs
}

func writeLine(b *strings.Builder, words ...string) {
	for _, w := range words {
		b.WriteString(w)
	}
	b.WriteByte('\n')
}
