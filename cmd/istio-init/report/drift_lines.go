package report

import (
	"maps"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/iptables"
)

// A lineOp is what is with a line.
type lineOp string

// The values of DriftLine.Op.
const (
	opSame       lineOp = "same"
	opMissing    lineOp = "missing"    // in the rules of the flags only
	opUnexpected lineOp = "unexpected" // in the live rules only
)

var opNames = map[iptables.Op]lineOp{iptables.Same: opSame, iptables.Added: opMissing, iptables.Removed: opUnexpected}

// driftLines returns the difference of a change, each line with the reason of its rule.
func driftLines(c iptables.Change) []DriftLine {
	reasons := lineReasons(c.Before)
	maps.Copy(reasons, lineReasons(c.After))
	var lines []DriftLine
	for _, hunk := range hunks(c.Diff()) {
		for i, l := range hunk {
			d := DriftLine{
				Op: opNames[l.Op], Table: l.Place.Table, Chain: l.Place.Chain, hunk: i == 0,
				Rule: strings.ReplaceAll(l.Rule.Text, "\n", " "), // a foreign comment may have line breaks
			}
			if l.Op != iptables.Same && !l.IsChain() {
				d.Reason = reasons[lineOf{d.Table, d.Chain, l.Rule.Text}]
			}
			lines = append(lines, d)
		}
	}
	return withChange(lines)
}

// contextLines is how many equal lines a hunk has ahead of a change and behind it.
const contextLines = 3

// hunks returns the changed lines with the equal lines around them.
func hunks(lines []iptables.DiffLine) [][]iptables.DiffLine {
	var hunks [][]iptables.DiffLine
	start, end := 0, -1 // of the current hunk, from its first change to behind its last
	flush := func() {
		if end >= 0 {
			hunks = append(hunks, lines[max(0, start-contextLines):min(len(lines), end+contextLines)])
		}
	}
	for i, l := range lines {
		if l.Op == iptables.Same {
			continue
		}
		if end < 0 || i-end >= 2*contextLines {
			flush()
			start = i
		}
		end = i + 1
	}
	flush()
	return hunks
}

// withChange omits the lines of unchanged chains.
func withChange(lines []DriftLine) []DriftLine {
	var kept []DriftLine
	for len(lines) > 0 {
		n := slices.IndexFunc(lines[1:], func(d DriftLine) bool {
			return d.hunk || d.Table != lines[0].Table || d.Chain != lines[0].Chain
		}) + 1
		if n == 0 {
			n = len(lines)
		}
		if slices.ContainsFunc(lines[:n], func(d DriftLine) bool { return d.Op != opSame }) {
			kept = append(kept, lines[:n]...)
		}
		lines = lines[n:]
	}
	return kept
}

// A lineOf is the rule of a line: its chain and its text.
type lineOf struct{ table, chain, text string }

// lineReasons returns the reasons of the rules of a state.
func lineReasons(s iptables.Snapshot) map[lineOf]string {
	rs := infer.Infer(s.Ruleset()).Rules
	reasons := map[lineOf]string{}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if reason := Reason(r); reason != "" {
					reasons[lineOf{t.Name, c.Name, r.Text(rs.Family)}] = reason
				}
			}
		}
	}
	return reasons
}
