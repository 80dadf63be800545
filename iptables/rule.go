package iptables

import (
	"slices"

	"istio-init/netutil/inet"
)

// A Rule is a match and what becomes of the packets that meet it.
type Rule struct {
	Match
	Target  Target   // nil: nothing, or what Foreign says
	Foreign *Foreign // what the types cannot say; nil: they say all
	Role    Role     // why the rule is there
}

// A Role says why a rule is there, in the numbers of the package that decides which rules there are.
// It is for people and never changes what a rule does. Zero: unknown.
type Role uint8

// Text returns the rule as iptables-save prints it after "-A CHAIN ".
func (r Rule) Text(f inet.Family) string {
	if r.Foreign != nil {
		return r.Foreign.Text
	}
	var w words
	r.Match.text(&w) //nolint:staticcheck // a Rule has two texts: this is the match's
	if r.Target != nil {
		r.Target.text(&w, f)
	}
	return string(w.b)
}

// A Chain is a list of rules, tried in their order.
type Chain struct {
	Name   string
	Policy Verdict // of a built-in chain that is live; zero: ACCEPT
	Rules  []Rule
}

// policy is how iptables-save prints the policy of a chain of a table.
func (c Chain) policy(table string) string {
	switch {
	case !slices.Contains(builtinChains[table], c.Name):
		return "-"
	case c.Policy == Drop:
		return Drop.String()
	}
	return Accept.String()
}

// A Table is a set of chains; their order has no effect.
type Table struct {
	Name   string
	Chains []Chain
}

// A Ruleset is everything we want in the kernel for one family. The zero
// Ruleset wants nothing of ours in IPv4.
type Ruleset struct {
	Family inet.Family
	Tables []Table
}

// String returns what iptables-save prints of a namespace with these rules and no others,
// without its comments; "" for no rules.
func (rs Ruleset) String() string {
	s := Snapshot{Family: rs.Family, Tables: rs.live()}
	for i := range s.Tables {
		t := &s.Tables[i]
		for _, name := range builtinChains[t.Name] { // the kernel makes a table with all of them
			if t.find(name) < 0 {
				t.Chains = append(t.Chains, LiveChain{Name: name, Policy: Accept.String()})
			}
		}
	}
	return s.String()
}

// Len returns how many rules there are.
func (rs Ruleset) Len() int {
	n := 0
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			n += len(c.Rules)
		}
	}
	return n
}

// Table returns the table of that name; one without chains when it is not there.
func (rs Ruleset) Table(name string) Table {
	if i := slices.IndexFunc(rs.Tables, func(t Table) bool { return t.Name == name }); i >= 0 {
		return rs.Tables[i]
	}
	return Table{Name: name}
}

// chain returns the rules of a chain.
func (t Table) chain(name string) []Rule { return t.Chain(name).Rules }

// Chain returns the chain of that name; one without rules when it is not there.
func (t Table) Chain(name string) Chain {
	if i := slices.IndexFunc(t.Chains, func(c Chain) bool { return c.Name == name }); i >= 0 {
		return t.Chains[i]
	}
	return Chain{Name: name}
}
