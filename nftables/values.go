package nftables

import "fmt"

// values are numbers for a condition.
type values struct {
	intervals []interval
	texts     []string
}

func (v *values) add(lo, hi []byte, from, to uint32) {
	text := fmt.Sprint(from)
	if from != to {
		text += fmt.Sprintf("-%d", to)
	}
	v.intervals, v.texts = append(v.intervals, interval{string(lo), string(hi)}), append(v.texts, text)
}

// single reports whether there is one number, and returns its text.
func (v *values) single() (text string, ok bool) {
	return v.texts[0], len(v.texts) == 1 && v.intervals[0].lo == v.intervals[0].hi
}

// condition appends that a field is one of the values, which are a range or several.
func (v *values) condition(r *Rule, f field, neg bool, prepare ...expression) {
	_, not := operator(neg)
	r.add("", append([]expression{f.load}, prepare...)...)
	if len(v.texts) > 1 {
		r.add(f.name+" "+not+setText(v.texts), lookup(neg, &set{kind: f.kind, intervals: v.intervals}))
		return
	}
	only := v.intervals[0]
	r.add(f.name+" "+not+v.texts[0], inRange(neg, []byte(only.lo), []byte(only.hi)))
}
