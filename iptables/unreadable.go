package iptables

import "slices"

// An UnreadableRule is a live rule that the types cannot express, where it may be a
// wanted rule in other words.
type UnreadableRule struct {
	Table, Chain string
	Text         string // as iptables prints it
	Wanted       string // the rule that is wanted in its place
	Unasked      string // why iptables was not asked whether it is that one
}

// UnreadableRules returns the live rules that the types cannot express and that may be
// wanted ones. Such a rule is in a chain of ours that has all other wanted rules in their
// places and no more, and the rule that is wanted in its place is nowhere in the chain.
// So there is at most one in each chain, and it is that rule or a stranger.
func (s Snapshot) UnreadableRules(want Ruleset) []UnreadableRule {
	var unreadable []UnreadableRule
	for _, wanted := range want.written() {
		t := s.table(wanted.name)
		for _, c := range wanted.chains {
			if !Own(c.name) {
				continue
			}
			live := t.rules(c.name)
			if i := s.unreadableAt(t, live, c.rules); i >= 0 {
				unreadable = append(unreadable, UnreadableRule{Table: t.name, Chain: c.name, Text: live[i], Wanted: c.rules[i]})
			}
		}
	}
	return unreadable
}

// unreadableAt returns the place of the one unreadable rule of a chain that may be the
// wanted one; -1 for none.
func (s Snapshot) unreadableAt(t savedTable, live, want []string) int {
	if len(live) != len(want) {
		return -1
	}
	want = s.asPrinted(t, live, want)
	at := -1
	for i := range live {
		if live[i] == want[i] {
			continue
		}
		if at >= 0 {
			return -1
		}
		at = i
	}
	if at < 0 || slices.Contains(live, want[at]) {
		return -1
	}
	if _, readable := s.canonical(t, live[at]); readable {
		return -1
	}
	return at
}
