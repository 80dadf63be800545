package iptables

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// A ChainName is a chain of a table.
type ChainName struct{ Table, Chain string }

// An Ownership says what of a live state is ours. Everything else is foreign: it is never
// changed, moved or removed. The zero value: nothing is ours.
type Ownership struct {
	Chains map[ChainName]bool // with all their rules, and the jumps to them from built-in chains
	Rules  map[Place]bool     // other rules of built-in chains
	// Ahead is how many foreign rules of a built-in chain may be ahead of ours, where a plan
	// has to move ours; see [Ownership.Displaced].
	Ahead map[ChainName]int
}

// An OwnerOf finds out what of a state is ours.
type OwnerOf func(Snapshot) Ownership

// Empty reports whether nothing is ours.
func (o Ownership) Empty() bool { return len(o.Chains)+len(o.Rules) == 0 }

// Names returns our chains, by table and name.
func (o Ownership) Names() []ChainName {
	return slices.SortedFunc(maps.Keys(o.Chains), func(x, y ChainName) int {
		return cmp.Or(cmp.Compare(x.Table, y.Table), cmp.Compare(x.Chain, y.Chain))
	})
}

// Has reports whether a chain is ours.
func (o Ownership) Has(table, chain string) bool { return o.Chains[ChainName{table, chain}] }

// Jumps reports whether a rule of a table jumps to a chain of ours.
func (o Ownership) Jumps(table string, r LiveRule) bool {
	chain, ok := nextChain(r.Rule.Target)
	return ok && o.Has(table, chain)
}

// split separates the rules of a built-in chain into ours and foreign ones, and returns how
// many foreign ones are ahead of our first.
func (o Ownership) split(table string, c LiveChain) (ours, foreign []LiveRule, ahead int) {
	ahead = -1
	for i, r := range c.Rules {
		if !o.Jumps(table, r) && !o.Rules[Place{table, c.Name, i}] {
			foreign = append(foreign, r)
			continue
		}
		if ahead < 0 {
			ahead = len(foreign)
		}
		ours = append(ours, r)
	}
	if ahead < 0 {
		ahead = len(foreign)
	}
	if most, moves := o.Ahead[ChainName{table, c.Name}]; moves {
		ahead = min(ahead, most)
	}
	return ours, foreign, ahead
}

// Displaced returns the built-in chains of a state in which ours comes after a foreign rule
// that it was ahead of in an earlier state, with the number of foreign rules that may be ahead
// of ours. A foreign rule is known by its text; one that was on both sides does not count.
func (o Ownership) Displaced(now, before Snapshot, own Ownership) map[ChainName]int {
	displaced := map[ChainName]int{}
	for _, t := range now.Tables {
		for _, c := range t.Chains {
			if c.Policy == "-" {
				continue
			}
			ours, foreign, ahead := o.split(t.Name, c)
			had, old, oldAhead := own.split(t.Name, before.Table(t.Name).Chain(c.Name))
			if len(ours) == 0 || len(had) == 0 {
				continue
			}
			first := slices.IndexFunc(foreign[:ahead], func(r LiveRule) bool {
				return containsText(old[oldAhead:], r) && !containsText(old[:oldAhead], r)
			})
			if first >= 0 {
				displaced[ChainName{t.Name, c.Name}] = first
			}
		}
	}
	return displaced
}

// ForeignRules returns the foreign rules of a table, as "TABLE CHAIN: RULE": those with a match
// that the types cannot express, or all where there are none.
func (o Ownership) ForeignRules(s Snapshot, table string) []string {
	var all, unknown []string
	for _, c := range s.Table(table).Chains {
		for i, r := range c.Rules {
			at := Place{table, c.Name, i}
			if o.Has(table, c.Name) || o.Rules[at] || o.Jumps(table, r) {
				continue
			}
			all = append(all, s.TextAt(at))
			if r.Rule.Foreign != nil && strings.Contains(r.Text, "-m ") {
				unknown = append(unknown, s.TextAt(at))
			}
		}
	}
	if len(unknown) > 0 {
		return unknown
	}
	return all
}

// of returns the owned part of a state.
func (o Ownership) of(s Snapshot) []LiveTable {
	var tables []LiveTable
	for _, t := range s.Tables {
		own := LiveTable{Name: t.Name}
		for _, c := range t.Chains {
			if c.Policy != "-" {
				c.Rules, _, _ = o.split(t.Name, c)
			}
			if o.Has(t.Name, c.Name) || c.Policy != "-" && len(c.Rules) > 0 {
				own.Chains = append(own.Chains, c)
			}
		}
		if len(own.Chains) > 0 {
			tables = append(tables, own)
		}
	}
	return tables
}

// with returns the ownership in which the chains of tables that are not built in are ours too.
func (o Ownership) with(tables []LiveTable) Ownership {
	chains := maps.Clone(o.Chains)
	if chains == nil {
		chains = map[ChainName]bool{}
	}
	for _, t := range tables {
		for _, c := range t.Chains {
			if c.Policy == "-" {
				chains[ChainName{t.Name, c.Name}] = true
			}
		}
	}
	return Ownership{Chains: chains, Rules: o.Rules}
}
