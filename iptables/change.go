package iptables

import (
	"slices"

	"istio-init/netutil/inet"
)

// A Change is what has to be done for one family.
type Change struct {
	Family inet.Family
	Edits  []TableEdit // in their order
	Before Snapshot    // the state it starts from
	After  Snapshot    // the state it leads to
	Own    Ownership   // the owned part of Before, and the chains that are ours in After
}

// Plan returns the change that makes ours what is wanted; an empty one when it is so
// already. Each table is one transaction of the kernel, so a packet meets the old rules or
// the new ones. A wanted chain must not be foreign in have.
//
// Chains that stay are declared; chains that go are emptied and deleted last. Jumps are
// deleted by their text and added at their place, so a rule that another program added
// meanwhile is not hit.
//
// Tables from which a jump goes come after those that only gain: when capture moves from
// one table to another, and the program dies in between, both have it.
func Plan(have Snapshot, own Ownership, want Ruleset) Change {
	return change(have, own, want.live())
}

// Rollback returns the change that makes ours what it was in Before of another change.
// Foreign rules stay as they are now.
func Rollback(now Snapshot, own Ownership, undo Change) Change {
	return change(now, own, undo.Own.of(undo.Before))
}

func change(before Snapshot, own Ownership, want []LiveTable) Change {
	after := before.withOurs(own, want)
	return Change{Family: before.Family, Edits: edits(before, after, own), Before: before, After: after, Own: own.with(want)}
}

// Empty reports whether there is nothing to do.
func (c Change) Empty() bool { return len(c.Edits) == 0 }

// RemovesChains reports whether the change deletes chains.
func (c Change) RemovesChains() bool {
	return slices.ContainsFunc(c.Edits, func(e TableEdit) bool { return len(e.Remove) > 0 })
}

// Taken returns the rules of built-in chains that Istio itself had put there and that are
// not there after the change. They are places of Before.
func (c Change) Taken() []Place {
	var taken []Place
	for _, t := range c.Before.Tables {
		for _, chain := range t.Chains {
			for i := range chain.Rules {
				at := Place{t.Name, chain.Name, i}
				if c.Own.Rules[at] && !c.Own.Jumps(t.Name, chain.Rules[i]) {
					taken = append(taken, at)
				}
			}
		}
	}
	return taken
}

// Made returns the tables that the change adds.
func (c Change) Made() []string {
	var names []string
	for _, t := range c.After.Tables {
		if !c.Before.has(t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// Emptied returns the tables that held something of ours before the change and hold nothing
// after it: no rule, no chain but the built-in ones, no policy but ACCEPT.
func (c Change) Emptied() []string {
	var names []string
	for _, t := range c.Own.of(c.Before) {
		if c.After.Table(t.Name).Empty() {
			names = append(names, t.Name)
		}
	}
	return names
}

// EmptiesAllTables reports whether every table that the change is about is empty after it.
// Then the tables can be deleted whole.
func (c Change) EmptiesAllTables() bool {
	return len(c.Edits) == len(c.Emptied())
}
