package iptables

import (
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

// A Change is what has to be done for one family; nothing when Script is empty.
type Change struct {
	Family inet.Family
	Script string   // for iptables-restore --noflush
	Before Snapshot // the state it starts from
	After  Snapshot // the state it leads to
}

// Plan returns the change that makes ours what is wanted: to have.With(want). Its script is
// "" when the two agree. Each table is one transaction of the kernel, so a packet meets the
// old rules or the new ones.
//
// Chains that stay are declared (":CHAIN - [0:0]"), which creates or empties them; chains
// that go are emptied and deleted last. No script deletes and creates the same chain:
// iptables-nft loses it when another transaction comes in between. Jumps are deleted by
// their text and added at their place, so a rule that somebody else added meanwhile is not
// hit.
//
// Tables from which a jump goes come after those that only gain: when capture moves from
// one table to another, and the program dies in between, both have it.
func Plan(have Snapshot, want Ruleset) Change { return change(have, have.With(want)) }

// Rollback returns the change that makes ours what it was in another state. Foreign rules
// stay as they are now.
func Rollback(now, before Snapshot) Change { return change(now, now.withOurs(before.ours())) }

func change(before, after Snapshot) Change {
	return Change{Family: before.Family, Script: difference(before, after), Before: before, After: after}
}

// Taken returns the rules that Istio itself had put into built-in chains and that
// are not there after the change, as "table chain: rule".
func (c Change) Taken() []string {
	var lines []string
	istios := c.Before.remains()
	for _, t := range c.Before.tables {
		for _, chain := range t.chains {
			ours, _, _ := istios.split(t.name, chain)
			for _, rule := range ours {
				if chain.policy != "-" && !jumpsToOurs(rule) {
					lines = append(lines, t.name+" "+chain.name+": "+rule)
				}
			}
		}
	}
	return lines
}

// Made returns the tables that the change adds.
func (c Change) Made() []string {
	var names []string
	for _, t := range c.After.tables {
		if !c.Before.has(t.name) {
			names = append(names, t.name)
		}
	}
	return names
}

// Emptied returns the tables that held something of ours before the change and
// hold nothing after it: no rule, no chain but the built-in ones, no policy but
// ACCEPT.
func (c Change) Emptied() []string {
	var names []string
	for _, t := range c.Before.tables {
		if t.ours() && !slices.ContainsFunc(c.After.table(t.name).chains, func(c savedChain) bool {
			return c.policy != "ACCEPT" || len(c.rules) > 0
		}) {
			names = append(names, t.name)
		}
	}
	return names
}

// Whole tells whether nothing of the tables that the change is about is left after
// it: they can go as they are.
func (c Change) Whole() bool {
	return strings.Count("\n"+c.Script, "\n*") == len(c.Emptied())
}
