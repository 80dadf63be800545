package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/cmd/istio-init/options"
	"istio-init/iptables"
	"istio-init/netutil/inet"
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
	Problems  []string `json:"problems,omitempty"` // what keeps the rules from doing what they say
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
	s.Problems = sc.problems
	if len(own) == 0 {
		return s
	}
	for _, rs := range own {
		s.Problems = append(s.Problems, lostJumps(sc.config, rs)...)
	}
	for _, r := range sc.readings {
		if r.Guarded() {
			s.Problems = append(s.Problems, fmt.Sprintf("%s: guardrails that Istio left behind drop all TCP and UDP (table filter)", r.Rules.Family))
		}
	}
	s.Captures, s.Generation = true, sc.config.Generation.String()
	s.Exact = sc.config.Validate() == nil && !slices.ContainsFunc(own, func(rs iptables.Ruleset) bool { return !makes(sc.config, rs) })
	s.Arguments, s.Variables = options.Arguments(sc.config, len(own) == len(inet.Families))
	for _, f := range sc.config.Facts() {
		s.Facts = append(s.Facts, fact(f))
	}
	return s
}

// lostJumps names the chains of a mesh that nothing leads to, though they are there
// and the configuration has a rule that does.
func lostJumps(c capture.Config, rs iptables.Ruleset) []string {
	var lost []string
	leadsTo := func(from iptables.Chain, chain string) bool {
		return slices.ContainsFunc(from.Rules, func(r iptables.Rule) bool {
			jump, ok := r.Target.(iptables.Jump)
			return ok && jump.Chain == chain
		})
	}
	for _, t := range capture.Rules(c, rs.Family).Tables {
		have := rs.Table(t.Name)
		for _, hook := range t.Chains {
			if iptables.Own(hook.Name) {
				continue
			}
			for _, r := range hook.Rules {
				chain := r.Target.(iptables.Jump).Chain // all that there is in built-in chains
				isThere := slices.ContainsFunc(have.Chains, func(c iptables.Chain) bool { return c.Name == chain })
				if isThere && !leadsTo(have.Chain(hook.Name), chain) {
					lost = append(lost, fmt.Sprintf("%s: no rule of %s %s leads to %s, so that its rules take nothing", rs.Family, t.Name, hook.Name, chain))
				}
			}
		}
	}
	return lost
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
	b.WriteString(p.lines(bold, s.headline(sc.config), "", "  "))
	for _, problem := range s.Problems {
		b.WriteString(p.lines(red, "problem: "+problem, "", "  "))
	}
	for _, f := range s.Facts {
		row(f.Label, f.Text)
	}
	if s.Captures {
		line := shellLine(slices.Concat(s.Variables, []string{programName, applyCommand}, s.Arguments))
		if s.Exact {
			command("made by", line)
		} else {
			command("nearest", line)
			row("", "the rules are not line for line those; \"check\" with these flags shows how they differ")
		}
		row("generation", s.Generation)
	}
	row("looked at", sc.title())
	writeDoubts(&b, p, s.Doubts)
	_, err := io.WriteString(w, b.String())
	return err
}

// headline is the answer in one sentence.
func (s captureState) headline(c capture.Config) string {
	in, out := !c.InboundPorts.Empty(), !c.OutboundPrefixes.Empty() || len(c.OutboundPorts) > 0
	what := ""
	switch {
	case !s.Captures:
		return "nothing is captured: no chain of a mesh is there"
	case in && out:
		what = "captured: inbound and outbound"
	case in:
		what = "captured: inbound alone"
	case out:
		what = "captured: outbound alone"
	case c.DNS.Captures():
		what = "captured: look-ups alone"
	default:
		return "nothing is captured, though chains of a mesh are there"
	}
	what += ", " + strings.Join(s.Families, " and ")
	if len(s.Problems) > 0 {
		what += "; but there are problems"
	}
	return what
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
