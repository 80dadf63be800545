package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"istio-init/capture/infer"
	"istio-init/iptables"
)

// family adds how the rules of a family differ from the wanted ones.
func (d *drift) family(c iptables.Change, want iptables.Ruleset) {
	f := familyDrift{Family: c.Family.String(), Wanted: want.Len(), Lines: []driftLine{}}
	if c.Script != "" {
		f.Lines = driftLines(c)
	}
	d.Families = append(d.Families, f)
}

// driftLines is the difference of a change, each line with what it means for
// traffic.
func driftLines(c iptables.Change) []driftLine {
	have, want := c.Before.Lines(), c.After.Lines()
	reasons := lineReasons(c.Before)
	for line, reason := range lineReasons(c.After) {
		reasons[line] = reason
	}
	text := diff.Diff("", document(have), "", document(want))
	var lines []driftLine
	hunk := false // the next line begins one
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		rule := line[min(1, len(line)):]
		d := newDriftLine(rule, reasons[rule])
		switch {
		case strings.HasPrefix(line, "diff "), strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "@@ "):
			hunk = true
			continue // what stands in a rule begins with the name of its table
		case strings.HasPrefix(line, "-"):
			d.Op = opUnexpected
		case strings.HasPrefix(line, "+"):
			d.Op = opMissing
		default:
			d.Op, d.Reason = opSame, ""
		}
		d.hunk, hunk = hunk, false
		lines = append(lines, d)
	}
	return withChange(lines)
}

// withChange leaves out the lines of chains of which none has changed.
func withChange(lines []driftLine) []driftLine {
	var kept []driftLine
	for len(lines) > 0 {
		n := slices.IndexFunc(lines[1:], func(d driftLine) bool {
			return d.hunk || d.Table != lines[0].Table || d.Chain != lines[0].Chain
		}) + 1
		if n == 0 {
			n = len(lines)
		}
		if slices.ContainsFunc(lines[:n], func(d driftLine) bool { return d.Op != opSame }) {
			kept = append(kept, lines[:n]...)
		}
		lines = lines[n:]
	}
	return kept
}

// newDriftLine reads a line "TABLE CHAIN RULE".
func newDriftLine(line, reason string) driftLine {
	table, rest, _ := strings.Cut(line, " ")
	chain, rule, _ := strings.Cut(rest, " ")
	return driftLine{Table: table, Chain: chain, Rule: rule, Reason: reason}
}

// What can be said of a line of rules.
const (
	opSame       = "same"
	opMissing    = "missing"    // the flags make it, and it does not stand
	opUnexpected = "unexpected" // it stands, and the flags do not make it
)

// document joins lines, of which none may have a line break in it: a comment of
// somebody else's may.
func document(lines []string) []byte {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.ReplaceAll(line, "\n", " ") + "\n")
	}
	return []byte(b.String())
}

// lineReasons say why the rules of a state are there, by their lines.
func lineReasons(s iptables.Snapshot) map[string]string {
	rs := s.Ruleset()
	reading := infer.Infer(rs)
	reasons := map[string]string{}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for i, r := range c.Rules {
				if reason := reading.Reason(iptables.Place{Table: t.Name, Chain: c.Name, Index: i}); reason != "" {
					reasons[t.Name+" "+c.Name+" "+r.Text(rs.Family)] = reason
				}
			}
		}
	}
	return reasons
}

// writeDrift writes a comparison for people.
func writeDrift(w io.Writer, p pen, d *drift) error {
	var b strings.Builder
	if d.InOrder {
		b.WriteString(p.lines(green, d.verdict(), "", "  "))
	} else {
		b.WriteString(p.lines(red, d.verdict(), "", "  "))
	}
	for _, line := range d.Besides {
		b.WriteString(p.lines(red, line, "  ", "    "))
	}
	for _, f := range d.Families {
		f.write(&b, p, cmp.Or(d.Variant, d.Dump))
	}
	for _, line := range d.Warnings {
		b.WriteString(p.lines(yellow, "warning: "+line, "", "  "))
	}
	writeDoubts(&b, p, d.Doubts)
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict is the answer in one sentence.
func (d *drift) verdict() string {
	switch {
	case d.InOrder && len(d.Warnings) > 0:
		return "in order, but rules of others stand in the way: see the warnings"
	case d.InOrder:
		return "in order: what stands is what these flags make"
	case d.Dump != "":
		return "drifted: the rules of " + d.Dump + " are not those that these flags make"
	}
	return "drifted: what stands is not what these flags make; \"apply\" with them puts it in order"
}

// writeDoubts writes why an answer may be wrong.
func writeDoubts(b *strings.Builder, p pen, doubts []string) {
	for _, doubt := range doubts {
		b.WriteString(p.lines(yellow, "not certain: "+doubt, "", "  "))
	}
}

// write writes the difference of a family as a unified diff, with the meaning
// below each line.
func (f familyDrift) write(b *strings.Builder, p pen, of string) {
	where := f.Family + " (" + of + ")"
	if len(f.Lines) == 0 {
		rules := fmt.Sprintf("%d rules, as they should be", f.Wanted)
		if f.Wanted == 0 {
			rules = "no rules of a mesh, as it should be"
		}
		b.WriteString(wrap(where+": "+rules, "", "  "))
		return
	}
	b.WriteString(wrap("--- "+where+": what stands", "", "  ") + wrap("+++ "+where+": what these flags make", "", "  "))
	chain := ""
	for _, line := range f.Lines {
		if at := line.Table + " " + line.Chain; at != chain || line.hunk {
			chain = at
			b.WriteString(p.lines(bold, "@@ "+chain+" @@", "", ""))
		}
		if line.Rule == "" && line.Op == opSame {
			continue // the chain is there, as the heading says
		}
		sign, colour := " ", ""
		switch line.Op {
		case opUnexpected:
			sign, colour = "-", red
		case opMissing:
			sign, colour = "+", green
		}
		rule := line.Rule
		if rule == "" {
			rule = "the chain itself"
		}
		b.WriteString(p.lines(colour, rule, sign, "    "))
		if line.Reason != "" {
			b.WriteString(p.lines(dim, line.Reason, "      # ", "      # "))
		}
	}
}
