package iptables

import (
	"slices"
	"strconv"
	"strings"
)

// withOurs returns the state after everything of ours in it was replaced by what is wanted:
// our chains, and built-in chains with our jumps. Foreign rules stay as and where they are.
// Our jumps stay where the first of them was, or come last in their chain. A chain of ours
// that a foreign rule jumps to cannot be removed and stays empty.
func (s Snapshot) withOurs(own Ownership, want []LiveTable) Snapshot {
	out := Snapshot{Family: s.Family, Unreadable: s.Unreadable}
	for _, t := range s.Tables {
		out.Tables = append(out.Tables, s.tableWith(t, tableOf(want, t.Name), own))
	}
	for _, t := range want {
		if !s.has(t.Name) {
			out.Tables = append(out.Tables, s.tableWith(LiveTable{Name: t.Name}, t, own))
		}
	}
	return out
}

// tableWith is withOurs for one table of the state.
func (s Snapshot) tableWith(t, want LiveTable, own Ownership) LiveTable {
	out, wanted := LiveTable{Name: t.Name}, want.index()
	for _, c := range t.Chains {
		i, keeps := wanted[c.Name]
		var rules []LiveRule
		if keeps {
			rules = want.Chains[i].Rules
		}
		switch {
		case c.Policy != "-":
			ours, foreign, ahead := own.split(t.Name, c)
			c.Rules = slices.Insert(foreign, ahead, s.asPrinted(ours, rules)...)
		case !own.Has(t.Name, c.Name):
		case keeps || own.heldByForeign(t, c.Name):
			c.Rules = s.asPrinted(c.Rules, rules)
		default:
			continue
		}
		out.Chains = append(out.Chains, c)
	}
	if len(want.Chains) == 0 {
		return out
	}
	there := out.index()
	add := func(c LiveChain) {
		if _, ok := there[c.Name]; !ok {
			there[c.Name] = len(out.Chains)
			out.Chains = append(out.Chains, c)
		}
	}
	for _, name := range BuiltinChains(t.Name) { // the kernel makes a table with all of them
		add(LiveChain{name, Accept.String(), want.Chain(name).Rules})
	}
	for _, c := range want.Chains {
		add(c)
	}
	return out
}

// heldByForeign reports whether a rule of a foreign chain jumps to our chain.
func (o Ownership) heldByForeign(t LiveTable, chain string) bool {
	return slices.ContainsFunc(t.Chains, func(c LiveChain) bool {
		return !o.Has(t.Name, c.Name) && c.Policy == "-" && slices.ContainsFunc(c.Rules, func(r LiveRule) bool {
			to, jumps := nextChain(r.Rule.Target)
			return jumps && to == chain
		})
	})
}

// live returns the rules in the form of a snapshot.
func (rs Ruleset) live() []LiveTable {
	var tables []LiveTable
	for _, t := range rs.Tables {
		live := LiveTable{Name: t.Name}
		for _, c := range t.Chains {
			rules := make([]LiveRule, len(c.Rules))
			for i := range c.Rules {
				rules[i] = LiveRule{Text: c.Rules[i].Text(rs.Family), Rule: c.Rules[i]}
			}
			live.Chains = append(live.Chains, LiveChain{Name: c.Name, Policy: c.policy(t.Name), Rules: rules})
		}
		tables = append(tables, live)
	}
	return tables
}

func sameText(x, y LiveRule) bool { return x.Text == y.Text }

// containsText reports whether one of the rules has the text of a rule.
func containsText(rules []LiveRule, r LiveRule) bool {
	return slices.ContainsFunc(rules, func(other LiveRule) bool { return other.Text == r.Text })
}

// difference returns the script that turns one state into another.
func difference(have, next Snapshot, own Ownership) string {
	var gaining, losing strings.Builder
	for _, name := range Tables {
		before, after := have.Table(name), next.Table(name)
		if own.losesJump(before, after) {
			own.tableDifference(&losing, before, after)
		} else {
			own.tableDifference(&gaining, before, after)
		}
	}
	return gaining.String() + losing.String()
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

func (o Ownership) tableDifference(b *strings.Builder, have, next LiveTable) {
	var declare, deletes, adds, drops strings.Builder
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
			writeLine(&declare, ":", c.Name, " - [0:0]")
			for _, r := range c.Rules {
				writeRule(&adds, c.Name, r.Text)
			}
		default:
			ours, foreign, _ := o.split(have.Name, LiveChain{Name: c.Name, Rules: old})
			for _, r := range ours {
				writeLine(&deletes, "-D ", c.Name, " ", r.Text)
			}
			insertions(&adds, c, foreign)
		}
	}
	for _, c := range have.Chains {
		if _, stays := after[c.Name]; !stays {
			writeLine(&declare, "-F ", c.Name)
			writeLine(&drops, "-X ", c.Name)
		}
	}
	if declare.Len()+deletes.Len()+adds.Len()+drops.Len() == 0 {
		return
	}
	writeLine(b, "*", next.Name, "\n", declare.String(), deletes.String(), adds.String(), drops.String(), "COMMIT")
}

// insertions writes the lines that make a built-in chain what it should be when it holds
// the foreign rules: at the end where none of those follows, else at its place.
func insertions(b *strings.Builder, c LiveChain, foreign []LiveRule) {
	for i, r := range c.Rules {
		switch {
		case len(foreign) > 0 && r.Text == foreign[0].Text:
			foreign = foreign[1:]
		case len(foreign) == 0:
			writeRule(b, c.Name, r.Text)
		default:
			writeLine(b, "-I ", c.Name, " ", strconv.Itoa(i+1), " ", r.Text)
		}
	}
}

func writeLine(b *strings.Builder, words ...string) {
	for _, w := range words {
		b.WriteString(w)
	}
	b.WriteByte('\n')
}
