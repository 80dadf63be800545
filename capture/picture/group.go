package picture

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/iptables"
)

// A ruleGroup is rules of one kind that a graph shows in one row. They do the same
// with packets.
type ruleGroup struct {
	rules []viewRule
	word  int // the word in which their reasons differ; -1: none
}

// grouped returns the rules of a chain as groups of consecutive rules.
func grouped(rules []viewRule) []ruleGroup {
	var all []ruleGroup
	for _, r := range rules {
		if len(all) == 0 || !all[len(all)-1].take(r) {
			all = append(all, ruleGroup{[]viewRule{r}, -1})
		}
	}
	return all
}

// sorted returns rules of branches of a list as groups, those without a condition last.
func sorted(rules []viewRule) []ruleGroup {
	var all []ruleGroup
	last := map[string]int{}
	for _, r := range rules {
		key := r.kind() + " " + options(r.condition)
		if i, ok := last[key]; ok && all[i].take(r) {
			continue
		}
		last[key] = len(all)
		all = append(all, ruleGroup{[]viewRule{r}, -1})
	}
	slices.SortStableFunc(all, func(a, b ruleGroup) int { return len(b.rules[0].condition) - len(a.rules[0].condition) })
	return all
}

// kind names what a rule does. Targets that are unknown here are of one kind
// whatever their options.
func (r viewRule) kind() string {
	if r.rule.Target == nil {
		name, _, _ := strings.Cut(r.action, " ")
		return name
	}
	return r.action
}

// take adds a rule if it is of the kind of the group.
func (g *ruleGroup) take(r viewRule) bool {
	first := g.rules[0]
	if first.foreign != r.foreign || first.kind() != r.kind() || options(r.condition) != options(first.condition) {
		return false
	}
	word, ok := difference(first.reason, r.reason)
	if !ok || g.word >= 0 && word >= 0 && word != g.word {
		return false
	}
	g.word = max(g.word, word)
	g.rules = append(g.rules, r)
	return true
}

// difference returns the word in which two texts differ, -1 for equal texts; ok is
// false when they differ in several.
func difference(a, b string) (word int, ok bool) {
	if a == b {
		return -1, true
	}
	x, y := strings.Split(a, " "), strings.Split(b, " ")
	if len(x) != len(y) {
		return 0, false
	}
	word = -1
	for i := range x {
		switch {
		case x[i] == y[i]:
		case word >= 0:
			return 0, false
		default:
			word = i
		}
	}
	return word, true
}

// options returns the names of conditions without their values.
func options(condition string) string {
	var names []string
	for w := range strings.SplitSeq(condition, " ") {
		if strings.HasPrefix(w, "-") || w == "!" {
			names = append(names, w)
		}
	}
	return strings.Join(names, " ")
}

// numbers returns those of the rules: "2", "2-4" or "2, 4-6".
func (g ruleGroup) numbers() string {
	var parts []string
	for i := 0; i < len(g.rules); {
		first, last := g.rules[i].number, g.rules[i].number
		for i++; i < len(g.rules) && g.rules[i].number == last+1; i++ {
			last++
		}
		part := fmt.Sprint(first)
		if last > first {
			part = fmt.Sprintf("%d-%d", first, last)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// maxValues is how many values of a group are named.
const maxValues = 4

// reason returns the reason of all rules; "" where it is unknown.
func (g ruleGroup) reason() string {
	first := g.rules[0]
	if g.word < 0 {
		return first.reason
	}
	words := strings.Split(first.reason, " ")
	values := map[string]bool{}
	var named []string
	for _, r := range g.rules {
		v := strings.Split(r.reason, " ")[g.word]
		if !values[v] && len(named) < maxValues {
			named = append(named, v)
		}
		values[v] = true
	}
	if more := len(values) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	words[g.word] = strings.Join(named, ", ")
	if i := g.word - 1; i >= 0 && slices.Contains([]string{"port", "ports", "user", "group", "interface", "server"}, words[i]) {
		words[i] = strings.TrimSuffix(words[i], "s") + "s"
	}
	if i := g.word + 1; i < len(words) && words[i] == "is" {
		words[i] = "are"
	}
	return strings.Join(words, " ")
}

// condition returns the conditions of all rules: values in which they differ as
// A|B, or those of the first rule with an ellipsis where that would not be exact.
func (g ruleGroup) condition() string {
	first := g.rules[0].condition
	words, product := strings.Split(first, " "), 1
	for i, word := range words {
		values := []string{word}
		for _, r := range g.rules[1:] {
			other := strings.Split(r.condition, " ")
			if len(other) != len(words) || len(values) > maxValues {
				return first + " …"
			}
			if !slices.Contains(values, other[i]) {
				values = append(values, other[i])
			}
		}
		product *= len(values)
		words[i] = strings.Join(values, "|")
	}
	if product > 1 && product != len(g.rules) {
		return first + " …"
	}
	return strings.Join(words, " ")
}

// catchesAll reports whether a rule takes every packet of a protocol; zero: of any.
func catchesAll(r viewRule, proto iptables.Proto) bool {
	m := r.rule.Match
	if m.Proto == proto {
		m.Proto = 0
	}
	known := r.rule.Foreign == nil || len(r.rule.Foreign.Conditions) == 0
	return known && len(terms(m, m)) == 0 && ends(r)
}

// ends reports whether a packet that a rule takes does not meet the next rule, unless
// it comes back from a chain.
func ends(r viewRule) bool {
	if r.rule.Target == nil {
		return r.rule.Foreign.Effect() != iptables.GoesOn
	}
	return iptables.Terminates(r.rule.Target)
}
