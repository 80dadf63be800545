package picture

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/iptables"
)

// A fold is rules of one kind that stand one behind the other, as a picture shows
// them: once.
type fold struct {
	rows []row
	at   int // the word in which their reasons differ; -1: in none
}

// folded puts the rules of a chain into folds, in their order.
func folded(rows []row) []fold {
	var all []fold
	for _, r := range rows {
		if len(all) == 0 || !all[len(all)-1].take(r) {
			all = append(all, fold{[]row{r}, -1})
		}
	}
	return all
}

// take adds a rule that is of the kind of the others. Rules of others all are of
// one kind: what they do is not shown.
func (f *fold) take(r row) bool {
	first := f.rows[0]
	if first.others != r.others {
		return false
	}
	if !r.others {
		at, one := difference(first.reason, r.reason)
		if r.then != first.then || !one || options(r.when) != options(first.when) || f.at >= 0 && at >= 0 && at != f.at {
			return false
		}
		f.at = max(f.at, at)
	}
	f.rows = append(f.rows, r)
	return true
}

// difference returns the word in which two texts differ; one is false when they
// do in more. It is -1 where they are the same.
func difference(a, b string) (at int, one bool) {
	x, y := strings.Split(a, " "), strings.Split(b, " ")
	if len(x) != len(y) {
		return 0, false
	}
	at = -1
	for i := range x {
		switch {
		case x[i] == y[i]:
		case at >= 0:
			return 0, false
		default:
			at = i
		}
	}
	return at, true
}

// options are the names of conditions without their values.
func options(when string) string {
	var names []string
	for w := range strings.SplitSeq(when, " ") {
		if strings.HasPrefix(w, "-") || w == "!" {
			names = append(names, w)
		}
	}
	return strings.Join(names, " ")
}

// numbers are those of the rules: "2" or "2-4".
func (f fold) numbers() string {
	first, last := f.rows[0].number, f.rows[len(f.rows)-1].number
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// mostValues is how many values of a fold are named.
const mostValues = 4

// why is the reason of all.
func (f fold) why() string {
	first := f.rows[0]
	switch {
	case first.others:
		return "of others: " + strings.Join(some(f.rows, func(r row) string { return strings.SplitN(r.then, " ", 2)[0] }), ", ")
	case first.reason == "":
		return first.why()
	case f.at < 0:
		return first.reason
	}
	words := strings.Split(first.reason, " ")
	var values []string
	for _, r := range f.rows {
		if v := strings.Split(r.reason, " ")[f.at]; !slices.Contains(values, v) {
			values = append(values, v)
		}
		if len(values) > mostValues {
			values = append(values[:mostValues-1], fmt.Sprintf("and %d more", len(f.rows)-mostValues+1))
			break
		}
	}
	words[f.at] = strings.Join(values, ", ")
	if f.at > 0 && slices.Contains([]string{"port", "ports", "user", "group", "interface", "server"}, words[f.at-1]) {
		words[f.at-1] = strings.TrimSuffix(words[f.at-1], "s") + "s"
	}
	if i := f.at + 1; i < len(words) && words[i] == "is" {
		words[i] = "are"
	}
	return strings.Join(words, " ")
}

// some returns the first few texts of rows, each once.
func some(rows []row, text func(row) string) []string {
	var all []string
	for _, r := range rows {
		t := text(r)
		if slices.Contains(all, t) {
			continue
		}
		if len(all) == mostValues-1 {
			return append(all, "…")
		}
		all = append(all, t)
	}
	return all
}

// catchesAll tells whether nothing of what a chain of ours looks at is left behind
// a rule.
func catchesAll(r row) bool {
	m := r.rule.Match
	m.Proto = 0
	return r.rule.Foreign == nil && strings.Join(terms(m, m), "") == "" && ends(r)
}

// ends tells whether a rule is the last one for the packets that it takes.
func ends(r row) bool {
	switch r.rule.Target.(type) {
	case iptables.SetMark, iptables.SaveMark, iptables.RestoreMark, iptables.Zone, nil:
		return false
	}
	return true
}
