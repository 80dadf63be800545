package iptables_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

func TestDiff(t *testing.T) {
	own := iptables.Ownership{Chains: map[iptables.ChainName]bool{{Table: "nat", Chain: "ISTIO_OUTPUT"}: true}}
	const head = "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n"
	before := snapshot(t, inet.IPv4, head+"-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j RETURN\n-A ISTIO_OUTPUT -j ACCEPT\nCOMMIT\n")
	after := snapshot(t, inet.IPv4, head+"-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j ACCEPT\n-A ISTIO_OUTPUT -j DROP\nCOMMIT\n")
	var got []string
	for _, l := range (iptables.Change{Before: before, After: after, Own: own}).Diff() {
		got = append(got, string(" -+"[l.Op])+l.Place.Table+" "+l.Place.Chain+": "+l.Rule.Text)
	}
	want := []string{
		" nat OUTPUT: -j ISTIO_OUTPUT",
		" nat ISTIO_OUTPUT: ",
		"-nat ISTIO_OUTPUT: -j RETURN",
		" nat ISTIO_OUTPUT: -j ACCEPT",
		"+nat ISTIO_OUTPUT: -j DROP",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestDiffHasEachRuleOfBothStates reads both states back from the lines, by place.
func TestDiffHasEachRuleOfBothStates(t *testing.T) {
	forCases(t, func(t *testing.T, g generator) {
		have := snapshot(t, g.family, g.state(t))
		change := iptables.PlanISTIO(have, g.ruleset())
		got := map[iptables.Op]int{}
		for _, l := range change.Diff() {
			if l.IsChain() {
				continue
			}
			got[l.Op]++
			in := change.After
			if l.Op == iptables.Removed {
				in = change.Before
			}
			if diff := cmp.Diff(in.At(l.Place).Text, l.Rule.Text); diff != "" {
				t.Errorf("%v (-want +got):\n%s", l.Place, diff)
			}
		}
		want := [2]int{change.Before.Rules(), change.After.Rules()}
		if diff := cmp.Diff(want, [2]int{got[iptables.Same] + got[iptables.Removed], got[iptables.Same] + got[iptables.Added]}); diff != "" {
			t.Errorf("rules of both states (-want +got):\n%s", diff)
		}
	})
}
