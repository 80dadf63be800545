package iptables

import "slices"

// An Op says in which state of a change a line is.
type Op uint8

// The ops of a DiffLine. The zero Op is Same.
const (
	Same    Op = iota // in both states
	Removed           // in Before only
	Added             // in After only
)

// A DiffLine is a rule or, with the index -1, a chain of ours itself. Its place is that in
// After; of a removed line, that in Before.
type DiffLine struct {
	Op    Op
	Place Place
	Rule  LiveRule
}

// IsChain reports whether a line is a chain itself.
func (l DiffLine) IsChain() bool { return l.Place.Index < 0 }

// Diff returns all lines of both states in one order, tables and chains as iptables-save
// prints them. A rule that is at another place after the change is removed and added.
func (c Change) Diff() []DiffLine { return diffLines(c.Before.lines(c.Own), c.After.lines(c.Own)) }

func (s Snapshot) lines(own Ownership) []DiffLine {
	var lines []DiffLine
	for _, t := range s.Tables {
		for _, c := range t.sorted() {
			if own.Has(t.Name, c.Name) { // it may have no rules
				lines = append(lines, DiffLine{Place: Place{t.Name, c.Name, -1}})
			}
			for i := range c.Rules {
				lines = append(lines, DiffLine{Place: Place{t.Name, c.Name, i}, Rule: c.Rules[i]})
			}
		}
	}
	return lines
}

// A lineKey is what the same line has in common in two states.
type lineKey struct {
	table, chain, text string
	isChain            bool
}

func keysOf(lines []DiffLine) []lineKey {
	keys := make([]lineKey, len(lines))
	for i := range lines {
		l := &lines[i]
		keys[i] = lineKey{l.Place.Table, l.Place.Chain, l.Rule.Text, l.IsChain()}
	}
	return keys
}

// A linePair is a line of two states, by its index in each.
type linePair struct{ before, after int }

// diffLines is an anchored diff, in n log n steps: lines that are once in each
// state are matched, and then their equal neighbours.
func diffLines(before, after []DiffLine) []DiffLine {
	x, y := keysOf(before), keysOf(after)
	anchors := slices.Concat([]linePair{{}}, anchorsOf(x, y), []linePair{{len(x), len(y)}})
	var out []DiffLine
	var done linePair
	for _, start := range anchors {
		if start.before < done.before {
			continue // a neighbour of an earlier one
		}
		end := start
		for start.before > done.before && start.after > done.after && x[start.before-1] == y[start.after-1] {
			start.before--
			start.after--
		}
		for end.before < len(x) && end.after < len(y) && x[end.before] == y[end.after] {
			end.before++
			end.after++
		}
		out = appendOp(out, Removed, before[done.before:start.before])
		out = appendOp(out, Added, after[done.after:start.after])
		out = appendOp(out, Same, after[start.after:end.after])
		done = end
	}
	return out
}

func appendOp(out []DiffLine, op Op, lines []DiffLine) []DiffLine {
	for _, l := range lines {
		l.Op = op
		out = append(out, l)
	}
	return out
}

// anchorsOf returns the longest sequence of lines that are once in each state and are in the
// same order in both.
func anchorsOf(x, y []lineKey) []linePair {
	pairs := uniquePairs(x, y)
	length := make([]int, len(pairs)) // of the longest sequence that ends with a pair
	var lasts []int                   // the smallest last line of a sequence of each length
	for i, p := range pairs {
		n, _ := slices.BinarySearch(lasts, p.after)
		if n == len(lasts) {
			lasts = append(lasts, 0)
		}
		lasts[n], length[i] = p.after, n+1
	}
	anchors := make([]linePair, len(lasts))
	n, next := len(lasts), len(y)
	for i, p := range slices.Backward(pairs) {
		if n > 0 && length[i] == n && p.after < next {
			n, next = n-1, p.after
			anchors[n] = p
		}
	}
	return anchors
}

// uniquePairs returns the lines that are once in each state, in the order of x.
func uniquePairs(x, y []lineKey) []linePair {
	type count struct{ before, after, at int }
	counts := make(map[lineKey]count, len(y))
	for i, key := range y {
		c := counts[key]
		c.after, c.at = c.after+1, i
		counts[key] = c
	}
	for _, key := range x {
		c := counts[key]
		c.before++
		counts[key] = c
	}
	var pairs []linePair
	for i, key := range x {
		if c := counts[key]; c.before == 1 && c.after == 1 {
			pairs = append(pairs, linePair{i, c.at})
		}
	}
	return pairs
}
