package report

import (
	"cmp"
	"fmt"
	"strings"

	"istio-init/iptables"
)

// A Drift is how the live rules, or those of a dump, differ from the wanted ones. Its
// fields are the keys of check --output json.
type Drift struct {
	InOrder  bool          `json:"in_order"`
	Variant  string        `json:"variant,omitempty"`
	Dump     string        `json:"dump,omitempty"` // what was compared, where it is not live
	Families []FamilyDrift `json:"families"`
	// Besides are differences other than rules of the variant: routes, the address ::6,
	// rules in the other variant.
	Besides  []string `json:"besides,omitempty"`
	Problems []string `json:"problems,omitempty"` // why the wanted rules do not work
	Warnings []string `json:"warnings,omitempty"` // foreign rules ahead of ours
	Caveats  []string `json:"doubts,omitempty"`
	Notes    []string `json:"notes,omitempty"` // what was changed to read the dump
}

// A FamilyDrift is the drift of one family.
type FamilyDrift struct {
	Family string      `json:"family"`
	Wanted int         `json:"wanted"` // rules
	Lines  []DriftLine `json:"lines"`  // none: in order
}

// A DriftLine is a line of a unified diff: a rule, or without one the chain itself. A
// rule at another position is once unexpected and once missing.
type DriftLine struct {
	Op     string `json:"op"` // "missing", "unexpected" or "same"
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	Rule   string `json:"rule,omitempty"`
	Reason string `json:"reason,omitempty"`

	hunk bool // begins a hunk: equal lines before it are omitted
}

// Differs adds a difference besides those of rules.
func (d *Drift) Differs(format string, args ...any) {
	d.Besides = append(d.Besides, fmt.Sprintf(format, args...))
}

// AddFamily adds how the rules of a family differ from the wanted ones.
func (d *Drift) AddFamily(c iptables.Change, want iptables.Ruleset) {
	f := FamilyDrift{Family: c.Family.String(), Wanted: want.Len(), Lines: []DriftLine{}}
	if !c.Empty() {
		f.Lines = driftLines(c)
	}
	d.Families = append(d.Families, f)
}

func (d *Drift) document() any { return d }

func (d *Drift) text(s Styler) string {
	var b strings.Builder
	colour := red
	if d.InOrder {
		colour = green
	}
	b.WriteString(s.lines(colour, d.verdict(), "", "  "))
	for _, line := range d.Besides {
		b.WriteString(s.lines(red, line, "  ", "    "))
	}
	for _, f := range d.Families {
		f.write(&b, s, cmp.Or(d.Variant, d.Dump))
	}
	for _, line := range d.Problems {
		b.WriteString(s.lines(red, "problem: "+line, "", "  "))
	}
	writeWarnings(&b, s, d.Warnings)
	writeNotes(&b, s, d.Notes)
	writeCaveats(&b, s, d.Caveats)
	return b.String()
}

// verdict returns the answer in one sentence.
func (d *Drift) verdict() string {
	switch {
	case d.InOrder && len(d.Problems) > 0:
		return "in order, but there are problems: see below"
	case d.InOrder && len(d.Warnings) > 0:
		return "in order, but foreign rules may decide first: see the warnings"
	case d.InOrder && d.Dump != "":
		return "in order: the rules of " + d.Dump + " are those of these flags"
	case d.InOrder:
		return "in order: the live rules are those of these flags"
	case d.Dump != "":
		return "drift: the rules of " + d.Dump + " differ from these flags"
	}
	return "drift: the live rules differ from these flags; run \"apply\" with them to converge"
}

// write writes the drift of a family as a unified diff, with the reason below each line.
func (f FamilyDrift) write(b *strings.Builder, s Styler, of string) {
	where := f.Family + " (" + of + ")"
	if len(f.Lines) == 0 {
		rules := fmt.Sprintf("%d rules, in order", f.Wanted)
		if f.Wanted == 0 {
			rules = "no rules of a mesh, in order"
		}
		b.WriteString(wrap(where+": "+rules, "", "  "))
		return
	}
	b.WriteString(wrap("--- "+where+": live rules", "", "  ") + wrap("+++ "+where+": rules of these flags", "", "  "))
	chain := ""
	for _, line := range f.Lines {
		if at := line.Table + " " + line.Chain; at != chain || line.hunk {
			chain = at
			b.WriteString(s.lines(bold, "@@ "+chain+" @@", "", ""))
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
		b.WriteString(s.lines(colour, rule, sign, "    "))
		if line.Reason != "" {
			b.WriteString(s.lines(dim, line.Reason, "      # ", "      # "))
		}
	}
}
