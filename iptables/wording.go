package iptables

import (
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

// canonical returns a live rule as [Rule.Text] writes it, since another version of iptables
// may print it differently. ok is false for a rule that the types cannot express.
func (s Snapshot) canonical(live LiveRule) (text string, ok bool) {
	r := live.Rule
	if r.Foreign == nil {
		return r.Text(s.Family), true
	}
	if len(r.Foreign.Conditions) > 0 || r.Target == nil {
		return "", false
	}
	r.Foreign = nil
	text = r.Text(s.Family)
	// Reading leaves out a comment, some values of a target, and what is there twice.
	complete := len(strings.Fields(text)) == len(strings.Fields(live.Text))+impliedWords(live.Text, text) && strings.HasSuffix(live.Text, targetText(r.Target, s.Family))
	return text, complete
}

// impliedWords returns how many words a rule lacks that its protocol implies: iptables loads
// "-p tcp --dport 80" and prints "-p tcp -m tcp --dport 80" (iptables(8), -p).
func impliedWords(live, printed string) (n int) {
	for _, module := range []string{" -m tcp ", " -m udp "} {
		if strings.Contains(printed, module) && !strings.Contains(live, module) {
			n += len(strings.Fields(module))
		}
	}
	return n
}

// reword gives the rules of a table the words in which iptables prints them: people write
// some in others.
func (s Snapshot) reword(t LiveTable) {
	for _, c := range t.Chains {
		for i, live := range c.Rules {
			if live.Rule.Foreign == nil {
				continue
			}
			if text, ok := s.canonical(live); ok && text != live.Text {
				if r, err := ParseRule(s.Family, text); err == nil {
					c.Rules[i] = LiveRule{Text: text, Rule: r}
				}
			}
		}
	}
}

func targetText(t Target, f inet.Family) string { return Rule{Target: t}.Text(f) }

// asPrinted returns the wanted rules of a chain. Those that are there in other words are in
// the words of iptables: they are no difference.
func (s Snapshot) asPrinted(live, want []LiveRule) []LiveRule {
	if len(live) == 0 || slices.EqualFunc(live, want, sameText) {
		return want
	}
	const (
		wanted = iota + 1
		there  // in our words
	)
	found := make(map[string]int, len(want))
	for _, rule := range want {
		found[rule.Text] = wanted
	}
	for _, rule := range live {
		if found[rule.Text] == wanted {
			found[rule.Text] = there
		}
	}
	printed := map[string]LiveRule{} // by our words
	for _, rule := range live {
		if found[rule.Text] != 0 {
			continue
		}
		if text, ok := s.canonical(rule); ok && found[text] == wanted {
			printed[text] = rule
		}
	}
	if len(printed) == 0 {
		return want
	}
	rules := slices.Clone(want)
	for i, rule := range want {
		if live, ok := printed[rule.Text]; ok {
			rules[i] = live
		}
	}
	return rules
}
