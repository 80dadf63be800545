package iptables

import "slices"

// A TableEdit changes one table, as one transaction of the kernel. Its parts are in the order
// in which they have to be made.
type TableEdit struct {
	Table   string
	Declare []string   // chains to create or, where they exist, to empty
	Delete  []RuleEdit // rules to delete from built-in chains, by their text
	Add     []RuleEdit
	Remove  []string // chains to delete; they are emptied first, with Declare
}

// A RuleEdit deletes or adds one rule.
type RuleEdit struct {
	Chain string
	At    int // the number, from 1, under which the rule is inserted; zero: at the end
	Rule  LiveRule
}

func (e TableEdit) empty() bool { return len(e.Declare)+len(e.Delete)+len(e.Add)+len(e.Remove) == 0 }

// edits returns what turns one state into another.
func edits(have, next Snapshot, own Ownership) []TableEdit {
	var gaining, losing []TableEdit
	for _, name := range Tables {
		before, after := have.Table(name), next.Table(name)
		e := own.edit(before, after)
		switch {
		case e.empty():
		case own.losesJump(before, after):
			losing = append(losing, e)
		default:
			gaining = append(gaining, e)
		}
	}
	return slices.Concat(gaining, losing)
}

// losesJump reports whether a packet that enters our chains by a built-in chain of have no
// longer does so in next.
func (o Ownership) losesJump(have, next LiveTable) bool {
	return slices.ContainsFunc(have.Chains, func(c LiveChain) bool {
		return c.Policy != "-" && slices.ContainsFunc(c.Rules, func(r LiveRule) bool {
			return o.Jumps(have.Name, r) && !containsText(next.Chain(c.Name).Rules, r)
		})
	})
}

// edit returns what turns one table into another.
func (o Ownership) edit(have, next LiveTable) TableEdit {
	e := TableEdit{Table: next.Name}
	before, after := have.index(), next.index()
	for _, c := range next.Chains {
		var old []LiveRule
		i, there := before[c.Name]
		if there {
			old = have.Chains[i].Rules
		}
		switch known := c.Policy != "-" || there; {
		case known && slices.EqualFunc(old, c.Rules, sameText):
		case c.Policy == "-":
			e.Declare = append(e.Declare, c.Name)
			e.Add = slices.Grow(e.Add, len(c.Rules))
			for _, r := range c.Rules {
				e.Add = append(e.Add, RuleEdit{Chain: c.Name, Rule: r})
			}
		default:
			ours, foreign, _ := o.split(have.Name, LiveChain{Name: c.Name, Rules: old})
			for _, r := range ours {
				e.Delete = append(e.Delete, RuleEdit{Chain: c.Name, Rule: r})
			}
			e.Add = append(e.Add, insertions(c, foreign)...)
		}
	}
	for _, c := range have.Chains {
		if _, stays := after[c.Name]; !stays {
			e.Remove = append(e.Remove, c.Name)
		}
	}
	return e
}

// insertions returns the edits that make a built-in chain what it should be when it holds
// the foreign rules: at the end where none of those follows, else at its place.
func insertions(c LiveChain, foreign []LiveRule) []RuleEdit {
	var add []RuleEdit
	for i, r := range c.Rules {
		switch {
		case len(foreign) > 0 && r.Text == foreign[0].Text:
			foreign = foreign[1:]
		case len(foreign) == 0:
			add = append(add, RuleEdit{Chain: c.Name, Rule: r})
		default:
			add = append(add, RuleEdit{Chain: c.Name, At: i + 1, Rule: r})
		}
	}
	return add
}
