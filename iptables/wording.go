package iptables

import (
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

// canonical returns a live rule as [Rule.Text] writes it, since another version of
// iptables may print it otherwise. ok is false for a rule that the types cannot express,
// and that iptables has not told to be one of ours.
func (s Snapshot) canonical(t savedTable, rule string) (text string, ok bool) {
	if text, ok := s.same[rule]; ok {
		return text, true
	}
	r := readRule(s.Family, rule, func(name string) bool { return t.find(name) >= 0 })
	if r.Foreign == nil {
		return rule, true
	}
	if len(r.Foreign.Conditions) > 0 || r.Target == nil {
		return "", false
	}
	r.Foreign = nil
	text = r.Text(s.Family)
	// A reading leaves out a comment, some values of a target, and what is there twice.
	complete := len(strings.Fields(text)) == len(strings.Fields(rule)) && strings.HasSuffix(rule, targetText(r.Target, s.Family))
	return text, complete
}

func targetText(t Target, f inet.Family) string { return Rule{Target: t}.Text(f) }

// asPrinted returns the wanted rules of a chain, those that are there in other words in
// the words of iptables: they are no difference.
func (s Snapshot) asPrinted(t savedTable, live, want []string) []string {
	if len(live) == 0 || slices.Equal(live, want) {
		return want
	}
	const (
		wanted = iota + 1
		there  // in our words
	)
	found := make(map[string]int, len(want))
	for _, rule := range want {
		found[rule] = wanted
	}
	for _, rule := range live {
		if found[rule] == wanted {
			found[rule] = there
		}
	}
	printed := map[string]string{} // by our words
	for _, rule := range live {
		if found[rule] != 0 {
			continue
		}
		if text, ok := s.canonical(t, rule); ok && found[text] == wanted {
			printed[text] = rule
		}
	}
	if len(printed) == 0 {
		return want
	}
	rules := make([]string, len(want))
	for i, rule := range want {
		if rules[i] = rule; printed[rule] != "" {
			rules[i] = printed[rule]
		}
	}
	return rules
}
