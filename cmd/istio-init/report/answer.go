package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/netutil/inet"
)

// An Answer is the result of a command.
type Answer interface {
	// text returns the answer for people.
	text(Styler) string
	// document returns the answer for programs, which is encoded as JSON.
	document() any
}

// Write writes an answer as text, or as JSON.
func Write(w io.Writer, s Styler, a Answer, asJSON bool) error {
	var text bytes.Buffer
	if asJSON {
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(a.document()); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	} else {
		text.WriteString(a.text(s))
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// A Source is the rules that an answer is about.
type Source struct {
	Name    string // what the rules are, in words
	Variant string // of iptables, where they are live
	Live    bool
	Dump    string             // the file that has the rules; "": they are not those of a file
	Rules   []*infer.Inference // by family
	Others  []*infer.Inference // those of the other variants of iptables, if they are live
	Config  capture.Config     // inferred from the rules, or that of the flags
	// Caveats are why an answer may be wrong, and Problems why the rules do not work.
	Caveats, Problems []string
	Notes             []string      // what was assumed or changed to read the rules
	Unprinted         []string      // why tables that may capture are not known
	Warnings          []string      // foreign rules ahead of ours
	Samples           []path.Sample // what becomes of connections that Config captures
}

// title is the name of the rules with their variant.
func (s *Source) title() string {
	if s.Variant != "" {
		return fmt.Sprintf("%s (%s)", s.Name, s.Variant)
	}
	return s.Name
}

// Captured returns the families that have rules of a mesh.
func (s *Source) Captured() (families []inet.Family) {
	for _, r := range s.Rules {
		if r.Captures() {
			families = append(families, r.Rules.Family)
		}
	}
	return families
}

// writeWarnings writes what a user should know of.
func writeWarnings(b *strings.Builder, s Styler, warnings []string) {
	for _, w := range warnings {
		b.WriteString(s.lines(yellow, "warning: "+w, "", "  "))
	}
}

// writeNotes writes what was assumed or changed to read the rules.
func writeNotes(b *strings.Builder, s Styler, notes []string) {
	for _, n := range notes {
		b.WriteString(s.lines(dim, "note: "+n, "", "  "))
	}
}

// writeCaveats writes why an answer may be wrong.
func writeCaveats(b *strings.Builder, s Styler, caveats []string) {
	for _, c := range caveats {
		b.WriteString(s.lines(yellow, "not certain: "+c, "", "  "))
	}
}
