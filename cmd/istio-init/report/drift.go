package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Drift is how the live rules, or those of a dump, differ from the wanted ones. Its
// fields are the keys of check --output json.
type Drift struct {
	header
	InOrder  bool          `json:"in_order" jsonschema:"the rules are those of the flags, and nothing else differs"`
	Backend  pod.Name      `json:"backend,omitempty" jsonschema:"who has the live rules"`
	Source   origin        `json:"source" jsonschema:"what was compared with the flags"`
	Families []FamilyDrift `json:"families" jsonschema:"the rules, by address family"`
	// Differences are those other than rules of the backend: routes, the address ::6, rules in
	// another backend.
	Differences []Difference `json:"differences,omitempty" jsonschema:"what differs besides rules of the backend"`
	Problems    []string     `json:"problems,omitempty" jsonschema:"why the wanted rules do not work, for people"`
	Warnings    []string     `json:"warnings,omitempty" jsonschema:"foreign rules that may decide first, for people"`
	Caveats     []string     `json:"doubts,omitempty" jsonschema:"why the answer may be wrong, for people"`
	Notes       []string     `json:"notes,omitempty" jsonschema:"what was changed to read the dump, for people"`

	Variant string   `json:"variant,omitempty" jsonschema:"deprecated: use backend"`
	Dump    string   `json:"dump,omitempty" jsonschema:"deprecated: use source"`
	Besides []string `json:"besides,omitempty" jsonschema:"deprecated: use differences"`
}

// A FamilyDrift is the drift of one family.
type FamilyDrift struct {
	Family inet.Family `json:"family" jsonschema:"the address family"`
	Wanted int         `json:"wanted" jsonschema:"how many rules are wanted"`
	Lines  []DriftLine `json:"lines" jsonschema:"the differences, with the lines around them; none: in order"`
}

// A DriftLine is a line of a unified diff: a rule, or without one the chain itself. A
// rule at another position is once unexpected and once missing.
type DriftLine struct {
	Op     lineOp `json:"op" jsonschema:"missing: only the flags make it; unexpected: it is only there"`
	Table  string `json:"table" jsonschema:"the table of iptables"`
	Chain  string `json:"chain" jsonschema:"the chain"`
	Rule   string `json:"rule,omitempty" jsonschema:"the rule as iptables-save prints it behind -A CHAIN; missing: the line is the chain itself"`
	Reason string `json:"reason,omitempty" jsonschema:"why the rule is there, for people"`

	hunk bool // begins a hunk: equal lines before it are omitted
}

// NewDrift returns the document to which what differs is added. dump is the file that has the
// rules; "": they are live.
func NewDrift(dump string) *Drift {
	d := &Drift{header: newHeader(kindDrift), Dump: dump, Source: origin{From: fromLive}, Families: []FamilyDrift{}}
	if dump != "" {
		d.Source = origin{fromDump, dump}
	}
	return d
}

// Differs adds differences besides those of rules.
func (d *Drift) Differs(differences ...Difference) {
	for _, difference := range differences {
		d.Differences, d.Besides = append(d.Differences, difference), append(d.Besides, difference.String())
	}
}

// AddFamily adds how the rules of a family differ from the wanted ones.
func (d *Drift) AddFamily(c iptables.Change, want iptables.Ruleset) {
	f := FamilyDrift{Family: c.Family, Wanted: want.Len(), Lines: append([]DriftLine{}, driftLines(c)...)}
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
	case d.nothing() && d.Dump != "":
		return "no mesh rules in " + d.Dump
	case d.nothing():
		return "no mesh rules: nothing is installed; run \"apply\" with these flags"
	case d.Dump != "":
		return "drift: the rules of " + d.Dump + " differ from these flags"
	}
	return "drift: the live rules differ from these flags; run \"apply\" with them to converge"
}

// nothing reports whether no family has any of the wanted rules.
func (d *Drift) nothing() bool {
	elsewhere := slices.ContainsFunc(d.Differences, func(d Difference) bool { return d.Kind == OtherBackend || d.Kind == NativeTables })
	wanted := slices.ContainsFunc(d.Families, func(f FamilyDrift) bool { return f.Wanted > 0 })
	return wanted && !elsewhere && !slices.ContainsFunc(d.Families, func(f FamilyDrift) bool { return !f.nothing() })
}

// nothing reports whether all wanted rules are missing, and none is unexpected.
func (f FamilyDrift) nothing() bool {
	missing := 0
	for _, line := range f.Lines {
		if line.Op == opUnexpected {
			return false
		}
		if line.Op == opMissing && line.Rule != "" {
			missing++
		}
	}
	return missing == f.Wanted
}

// write writes the drift of a family as a unified diff, with the reason below each line.
func (f FamilyDrift) write(b *strings.Builder, s Styler, of string) {
	where := f.Family.String() + " (" + of + ")"
	if len(f.Lines) == 0 {
		rules := fmt.Sprintf("%d rules, in order", f.Wanted)
		if f.Wanted == 0 {
			rules = "no rules of a mesh, in order"
		}
		b.WriteString(wrap(where+": "+rules, "", "  "))
		return
	}
	if f.nothing() && f.Wanted > 0 {
		b.WriteString(wrap(fmt.Sprintf("%s: no mesh rules, %d wanted", where, f.Wanted), "", "  "))
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
		case opSame:
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
