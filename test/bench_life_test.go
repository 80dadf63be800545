package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// An action is one kind of run, by the program and by its lower bound: a program that
// does nothing, and the tools of iptables with the same text.
type action struct {
	name        string
	ours, bound []step
}

// A life is a sequence of actions in a namespace: apply, re-run, change and clean.
type life struct {
	variant  xtables.Variant
	families []inet.Family
	first    []string // the line of the first configuration
	then     []string // of the changed one
}

// rules returns the rules of a command line, for some families.
func (s *bench) rules(line []string, families []inet.Family) (sets []iptables.Ruleset) {
	s.b.Helper()
	rules := rulesOf(s.b, line)
	for _, f := range families {
		sets = append(sets, rules[f])
	}
	return sets
}

// restores returns the restore commands that change rules into others, by family; nil
// means no rules.
func (s *bench) restores(l life, have, want []iptables.Ruleset) (at step) {
	s.b.Helper()
	args := []string{"--noflush"}
	if l.variant == xtables.Legacy {
		args = append(args, "--wait=20") // for the other family
	}
	for i, f := range l.families {
		state, next := iptables.Snapshot{Family: f}, iptables.Ruleset{Family: f}
		if have != nil {
			state = iptables.Plan(state, iptables.Ownership{}, have[i]).After
		}
		if want != nil {
			next = want[i]
		}
		at = append(at, command{tool(l.variant, f), args, s.file(xtables.Script(iptables.Plan(state, infer.Ownership(state), next)))})
	}
	return at
}

// actions prepares the actions of a life.
func (s *bench) actions(l life) []action {
	s.b.Helper()
	first, then := s.rules(l.first, l.families), s.rules(l.then, l.families)
	idle, saves := step{{path: s.idle}}, step{}
	for _, f := range l.families {
		saves = append(saves, command{path: strings.Replace(tool(l.variant, f), "-restore", "-save", 1)})
	}
	ours := func(args ...string) []step { return []step{{{path: s.ours, args: args}}} }
	clean := []step{idle, saves}
	for _, r := range s.restores(l, then, nil) { // iptables-nft cannot do both at once
		clean = append(clean, step{r})
	}
	return []action{
		{"apply", ours(l.first...), []step{idle, s.restores(l, nil, first)}},
		{"again", ours(l.first...), []step{idle, saves}},
		{"check", ours(append([]string{"check"}, l.first[1:]...)...), []step{idle, saves}},
		{"change", ours(l.then...), []step{idle, saves, s.restores(l, first, then)}},
		{"clean", ours(cleanCommand), clean},
	}
}

// live measures the actions of a life, alternating with their lower bound.
func (s *bench) live(l life) {
	actions := s.actions(l)
	costs := make([]pair, len(actions))
	for s.b.Loop() {
		mine, its := kernel.NewNetNS(s.b), kernel.NewNetNS(s.b)
		for i, a := range actions {
			costs[i].add(func() cost { return s.run(mine, a.ours...) }, func() cost { return s.run(its, a.bound...) })
		}
	}
	ns, peak := kernel.NewNetNS(s.b), 0.0
	for i, a := range actions {
		costs[i].report(s.b, a.name+"-")
		peak = max(peak, s.peak(ns, a.ours[0][0]))
	}
	s.b.ReportMetric(peak, "peak-MB")
}

// BenchmarkLife measures the default configuration of a sidecar in new namespaces, and
// a change of a few ports.
func BenchmarkLife(b *testing.B) {
	s := newBench(b)
	for _, v := range xtables.Variants {
		for n, family := range []string{"ipv4", "dual"} {
			b.Run(fmt.Sprintf("%s/%s", v, family), func(b *testing.B) {
				line := append([]string{applyCommand}, sidecar[1:]...)
				line = append(line, "--ip-family", family)
				if v == xtables.Legacy {
					line = in(v, line)
				}
				s.in(b).live(life{v, inet.Families[:n+1], line, append(slices.Clone(line), "-o", "9000", "-d", "15090,15021")})
			})
		}
	}
}
