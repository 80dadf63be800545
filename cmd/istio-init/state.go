package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// A captureState is what is captured; also the form of check --output json without flags
// for rules.
type captureState struct {
	Rules      string   `json:"rules"`             // what the rules are
	Variant    string   `json:"variant,omitempty"` // of iptables, where they are live
	Captures   bool     `json:"captures"`          // rules of a mesh are there
	Families   []string `json:"families"`
	Generation string   `json:"generation,omitempty"` // the Istio release whose rules they are
	// Exact says that the rules are line for line those that Arguments make.
	Exact     bool     `json:"exact"`
	Arguments []string `json:"arguments,omitempty"` // of an apply
	Variables []string `json:"variables,omitempty"` // of its environment
	Facts     []fact   `json:"facts"`
	Doubts    []string `json:"doubts,omitempty"`
}

type fact struct {
	Label string `json:"label"`
	Text  string `json:"text"`
}

// describe tells what is captured.
func describe(sc *scene) captureState {
	s := captureState{Rules: sc.name, Variant: sc.variant, Doubts: sc.doubts, Facts: []fact{}, Families: []string{}}
	var own []iptables.Ruleset
	for _, r := range sc.readings {
		if r.Captures() {
			s.Families = append(s.Families, r.Rules.Family.String())
			own = append(own, r.Rules)
		}
	}
	if len(own) == 0 {
		return s
	}
	s.Captures, s.Generation = true, sc.config.Generation.String()
	s.Exact = sc.config.Validate() == nil && !slices.ContainsFunc(own, func(rs iptables.Ruleset) bool { return !makes(sc.config, rs) })
	s.Arguments, s.Variables = arguments(sc.config, len(own) == len(iptables.Families))
	for _, f := range sc.config.Facts() {
		s.Facts = append(s.Facts, fact(f))
	}
	return s
}

// makes tells whether a configuration makes the rules of a mesh that are among
// some, line for line.
func makes(c capture.Config, rs iptables.Ruleset) bool {
	return maps.EqualFunc(meshRules(rs), meshRules(capture.Rules(c, rs.Family)), slices.Equal[[]string])
}

// meshRules are the rules of a mesh by "table chain": those of its chains, and the
// jumps to them.
func meshRules(rs iptables.Ruleset) map[string][]string {
	rules := map[string][]string{}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			at := t.Name + " " + c.Name
			if iptables.Own(c.Name) {
				rules[at] = []string{} // also one without rules
			}
			for _, r := range c.Rules {
				if jump, ok := r.Target.(iptables.Jump); iptables.Own(c.Name) || ok && iptables.Own(jump.Chain) {
					rules[at] = append(rules[at], r.Text(rs.Family))
				}
			}
		}
	}
	return rules
}

// writeState writes what is captured for people.
func writeState(w io.Writer, p pen, sc *scene, s captureState) error {
	var b strings.Builder
	row := func(label, text string) {
		b.WriteString(wrap(text, fmt.Sprintf("%-12s", label), strings.Repeat(" ", 12)))
	}
	command := func(label, text string) {
		b.WriteString(wrapCommand(text, fmt.Sprintf("%-12s", label), strings.Repeat(" ", 14)))
	}
	b.WriteString("by " + sc.title() + "\n")
	if !s.Captures {
		b.WriteString(p.in(bold, "nothing is captured: no chain of a mesh is there") + "\n")
	} else {
		for _, f := range s.Facts {
			row(f.Label, f.Text)
		}
		row("families", strings.Join(s.Families, ", "))
		line := shellLine(slices.Concat(s.Variables, []string{programName, applyCommand}, s.Arguments))
		if s.Exact {
			command("made by", line)
		} else {
			command("nearest", line)
			row("", "the rules are not line for line those; \"check\" with these flags shows how they differ")
		}
		row("generation", s.Generation)
	}
	for _, doubt := range s.Doubts {
		b.WriteString(p.in(yellow, strings.TrimSuffix(wrap("not certain: "+doubt, "", "  "), "\n")) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shellLine writes words as a shell takes them.
func shellLine(words []string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=+@"
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.Trim(w, plain) != "" {
			quoted[i] = "'" + w + "'" // no value has a quote in it
		}
	}
	return strings.Join(quoted, " ")
}
