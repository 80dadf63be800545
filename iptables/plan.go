package iptables

import "slices"

// withOurs returns the state after everything of ours in it was replaced by what is wanted:
// our chains, and built-in chains with our jumps. Foreign rules stay as and where they are.
// Our jumps stay where the first of them was, or come last in their chain. A chain of ours
// that a foreign rule jumps to cannot be removed and stays empty.
func (s Snapshot) withOurs(own Ownership, want []LiveTable) Snapshot {
	out := Snapshot{Family: s.Family, Unreadable: s.Unreadable, Incomplete: s.Incomplete}
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

// Snapshot returns the rules as the live state of a namespace that has no others.
func (rs Ruleset) Snapshot() Snapshot { return Snapshot{Family: rs.Family, Tables: rs.live()} }

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
