package iptables

import (
	"slices"
	"strconv"
	"strings"
)

// With returns the state after everything of ours in it was replaced by what is
// wanted. What is not ours stays as it is and where it is. Our jumps stay where
// the first of them was, or come last in their chain. A chain of ours that
// somebody else's rule jumps to cannot be removed and stays empty.
func (s Snapshot) With(want Ruleset) Snapshot { return s.withOurs(want.written()) }

// withOurs is With for what is ours in the form of a snapshot: our chains, and
// built-in chains with our jumps.
func (s Snapshot) withOurs(want []savedTable) Snapshot {
	out := Snapshot{Family: s.Family, unreadable: s.unreadable}
	old := s.remains()
	for _, t := range s.tables {
		out.tables = append(out.tables, s.tableWith(t, tableOf(want, t.name), old))
	}
	for _, t := range want {
		if !s.has(t.name) {
			out.tables = append(out.tables, s.tableWith(savedTable{name: t.name}, t, old))
		}
	}
	return out
}

// ours returns what is ours in the state.
func (s Snapshot) ours() []savedTable {
	var tables []savedTable
	old := s.remains()
	for _, t := range s.tables {
		own := savedTable{name: t.name}
		for _, c := range t.chains {
			if c.policy != "-" {
				c.rules, _, _ = old.split(t.name, c)
			}
			if Own(c.name) || c.policy != "-" && len(c.rules) > 0 {
				own.chains = append(own.chains, c)
			}
		}
		if len(own.chains) > 0 {
			tables = append(tables, own)
		}
	}
	return tables
}

// tableWith is withOurs for one table of the state.
func (s Snapshot) tableWith(t, want savedTable, old remains) savedTable {
	out, wanted := savedTable{name: t.name}, want.index()
	for _, c := range t.chains {
		i, keeps := wanted[c.name]
		var rules []string
		if keeps {
			rules = want.chains[i].rules
		}
		switch {
		case c.policy != "-":
			ours, others, before := old.split(t.name, c)
			c.rules = slices.Insert(others, before, s.asPrinted(t, ours, rules)...)
		case !Own(c.name):
		case keeps || t.heldByOthers(c.name):
			c.rules = s.asPrinted(t, c.rules, rules)
		default:
			continue
		}
		out.chains = append(out.chains, c)
	}
	if len(want.chains) == 0 {
		return out
	}
	there := out.index()
	add := func(c savedChain) {
		if _, ok := there[c.name]; !ok {
			there[c.name] = len(out.chains)
			out.chains = append(out.chains, c)
		}
	}
	for _, name := range BuiltinChains(t.name) { // the kernel makes a table with all of them
		add(savedChain{name, "ACCEPT", want.rules(name)})
	}
	for _, c := range want.chains {
		add(c)
	}
	return out
}

// heldByOthers tells whether a rule that is not ours jumps to the chain.
func (t savedTable) heldByOthers(chain string) bool {
	return slices.ContainsFunc(t.chains, func(c savedChain) bool {
		return !Own(c.name) && c.policy == "-" && slices.ContainsFunc(c.rules, func(r string) bool {
			return jumpsToOurs(r) && strings.HasSuffix(r, " "+chain)
		})
	})
}

// written returns the rules in the form of a snapshot.
func (rs Ruleset) written() []savedTable {
	var tables []savedTable
	for _, t := range rs.Tables {
		saved := savedTable{name: t.Name}
		for _, c := range t.Chains {
			rules := make([]string, len(c.Rules))
			for i := range c.Rules {
				rules[i] = c.Rules[i].Text(rs.Family)
			}
			saved.chains = append(saved.chains, savedChain{name: c.Name, policy: c.policy(t.Name), rules: rules})
		}
		tables = append(tables, saved)
	}
	return tables
}

// difference returns the script that turns one state into another.
func difference(have, next Snapshot) string {
	var gaining, losing strings.Builder
	gone := have.remains()
	for _, table := range Tables {
		old, t := have.table(table), next.table(table)
		if losesJump(old, t) {
			tableDifference(&losing, old, t, gone)
		} else {
			tableDifference(&gaining, old, t, gone)
		}
	}
	return gaining.String() + losing.String()
}

// losesJump tells whether a packet that enters our chains by a built-in chain of
// have no longer does so in next.
func losesJump(have, next savedTable) bool {
	return slices.ContainsFunc(have.chains, func(c savedChain) bool {
		return c.policy != "-" && slices.ContainsFunc(c.rules, func(r string) bool {
			return jumpsToOurs(r) && !slices.Contains(next.rules(c.name), r)
		})
	})
}

func tableDifference(b *strings.Builder, have, next savedTable, gone remains) {
	var declare, deletes, adds, drops strings.Builder
	before, after := have.index(), next.index()
	for _, c := range next.chains {
		var old []string
		i, there := before[c.name]
		if there {
			old = have.chains[i].rules
		}
		switch known := c.policy != "-" || there; {
		case known && slices.Equal(old, c.rules):
		case c.policy == "-":
			writeLine(&declare, ":", c.name, " - [0:0]")
			for _, r := range c.rules {
				writeRule(&adds, c.name, r)
			}
		default:
			ours, others, _ := gone.split(have.name, savedChain{name: c.name, rules: old})
			for _, r := range ours {
				writeLine(&deletes, "-D ", c.name, " ", r)
			}
			insertions(&adds, c, others)
		}
	}
	for _, c := range have.chains {
		if _, stays := after[c.name]; !stays {
			writeLine(&declare, "-F ", c.name)
			writeLine(&drops, "-X ", c.name)
		}
	}
	if declare.Len()+deletes.Len()+adds.Len()+drops.Len() == 0 {
		return
	}
	writeLine(b, "*", next.name, "\n", declare.String(), deletes.String(), adds.String(), drops.String(), "COMMIT")
}

// insertions writes the lines that make a built-in chain what it should be when it
// holds the rules of others: at the end where none of those follows, else at its
// place.
func insertions(b *strings.Builder, c savedChain, others []string) {
	for i, r := range c.rules {
		switch {
		case len(others) > 0 && r == others[0]:
			others = others[1:]
		case len(others) == 0:
			writeRule(b, c.name, r)
		default:
			writeLine(b, "-I ", c.name, " ", strconv.Itoa(i+1), " ", r)
		}
	}
}

func writeLine(b *strings.Builder, words ...string) {
	for _, w := range words {
		b.WriteString(w)
	}
	b.WriteByte('\n')
}
