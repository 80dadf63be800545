package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"istio-init/capture"
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
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		rule := line[min(1, len(line)):]
		d := newDriftLine(rule, reasons[rule])
		switch {
		case strings.HasPrefix(line, "diff "), strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "), strings.HasPrefix(line, "@@ "):
			continue // what stands in a rule begins with the name of its table
		case strings.HasPrefix(line, "-"):
			d.Op = opUnexpected
		case strings.HasPrefix(line, "+"):
			d.Op = opMissing
		default:
			d.Op, d.Reason = opSame, ""
		}
		lines = append(lines, d)
	}
	return lines
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
	reading := capture.Read(rs)
	reasons := map[string]string{}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for i, r := range c.Rules {
				if reason := reading.Reason(capture.Place{Table: t.Name, Chain: c.Name, Index: i}); reason != "" {
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
	for _, f := range d.Families {
		f.write(&b, p, d.Variant)
	}
	for _, line := range d.Besides {
		b.WriteString(p.in(red, strings.TrimSuffix(wrap(line, "", "  "), "\n")) + "\n")
	}
	for _, line := range d.Warnings {
		b.WriteString(p.in(yellow, strings.TrimSuffix(wrap("warning: "+line, "", "  "), "\n")) + "\n")
	}
	for _, line := range d.Doubts {
		b.WriteString(p.in(yellow, strings.TrimSuffix(wrap("not certain: "+line, "", "  "), "\n")) + "\n")
	}
	if d.InOrder {
		b.WriteString(p.in(green, "in order") + "\n")
	} else {
		b.WriteString(p.in(red, "drifted: the same flags to \"apply\" put it in order") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// write writes the difference of a family as a unified diff, with the meaning
// below each line.
func (f familyDrift) write(b *strings.Builder, p pen, variant string) {
	where := f.Family
	if variant != "" {
		where += " " + variant
	}
	if len(f.Lines) == 0 {
		fmt.Fprintf(b, "%s: %d rules, as wanted\n", where, f.Wanted)
		return
	}
	fmt.Fprintf(b, "--- %s: what stands\n+++ %s: what the flags make\n", where, where)
	chain := ""
	for _, line := range f.Lines {
		if at := line.Table + " " + line.Chain; at != chain {
			chain = at
			b.WriteString(p.in(bold, "@@ "+chain+" @@") + "\n")
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
		b.WriteString(p.in(colour, strings.TrimSuffix(wrap(rule, sign, "    "), "\n")) + "\n")
		if line.Reason != "" {
			b.WriteString(p.in(dim, strings.TrimSuffix(wrap(line.Reason, "      # ", "      # "), "\n")) + "\n")
		}
	}
}
