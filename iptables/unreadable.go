package iptables

import "slices"

// An UnreadableRule is a live rule that the types cannot express, and that may be a wanted
// rule in other words.
type UnreadableRule struct {
	Place
	Text    string   // as iptables prints it
	Wanted  LiveRule // the rule that is wanted in its place
	Unasked string   // why iptables was not asked whether it is that one
}

// UnreadableRules returns the live rules that the types cannot express and that may be
// wanted ones. Such a rule is in a chain of ours that has all other wanted rules in their
// places and no more, and the rule that is wanted in its place is nowhere in the chain. So
// there is at most one in each chain, and it is that rule or a different one.
func (s Snapshot) UnreadableRules(own Ownership, want Ruleset) []UnreadableRule {
	var unreadable []UnreadableRule
	for _, wanted := range want.live() {
		t := s.Table(wanted.Name)
		for _, c := range wanted.Chains {
			if !own.Has(t.Name, c.Name) {
				continue
			}
			live := t.Chain(c.Name).Rules
			if i := s.unreadableAt(live, c.Rules); i >= 0 {
				unreadable = append(unreadable, UnreadableRule{Place: Place{t.Name, c.Name, i}, Text: live[i].Text, Wanted: c.Rules[i]})
			}
		}
	}
	return unreadable
}

// unreadableAt returns the index of the one unreadable rule of a chain that may be the
// wanted one; -1 for none.
func (s Snapshot) unreadableAt(live, want []LiveRule) int {
	if len(live) != len(want) {
		return -1
	}
	want = s.asPrinted(live, want)
	at := -1
	for i := range live {
		if live[i].Text == want[i].Text {
			continue
		}
		if at >= 0 {
			return -1
		}
		at = i
	}
	if at < 0 || containsText(live, want[at]) {
		return -1
	}
	if _, readable := s.canonical(live[at]); readable {
		return -1
	}
	return at
}

// Identified returns the state in which rules that the types cannot express are known to
// say what others say.
func (s Snapshot) Identified(same map[Place]Rule) Snapshot {
	s.Tables = slices.Clone(s.Tables)
	for i := range s.Tables {
		t := &s.Tables[i]
		t.Chains = slices.Clone(t.Chains)
		for j := range t.Chains {
			c := &t.Chains[j]
			c.Rules = slices.Clone(c.Rules)
			for k := range c.Rules {
				if r, ok := same[Place{t.Name, c.Name, k}]; ok {
					c.Rules[k].Rule = r
				}
			}
		}
	}
	return s
}
