package iptables_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"istio-init/iptables"
	"istio-init/iptables/iptablestest"
)

// cases is how many random cases a property is tried on, for each family.
const cases = 300

// forCases runs a test on random cases of both families; the name of a failing one
// makes it again: -run 'TestX/ipv6/17'.
func forCases(t *testing.T, test func(t *testing.T, g generator)) {
	t.Helper()
	t.Parallel()
	for _, f := range iptables.Families {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			for i := range cases {
				t.Run(fmt.Sprint(i), func(t *testing.T) { test(t, generate(i, f)) })
			}
		})
	}
}

func TestRandomRulesetsAreValid(t *testing.T) {
	forCases(t, func(t *testing.T, g generator) {
		if rs := g.ruleset(); rs.Validate() != nil {
			t.Errorf("%v\n%s", rs.Validate(), rs)
		}
	})
}

func TestParseIsTheInverseOfPrint(t *testing.T) {
	forCases(t, func(t *testing.T, g generator) {
		for _, table := range g.ruleset().Tables {
			for _, c := range table.Chains {
				for _, want := range c.Rules {
					text := want.Text(g.family)
					got, err := iptables.ParseRule(g.family, text)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
						t.Errorf("%s (-want +got):\n%s", text, diff)
					}
				}
			}
		}
	})
}

// TestPrintedRulesetsReadBackAsThemselves has as many rules, and the same lines.
func TestPrintedRulesetsReadBackAsThemselves(t *testing.T) {
	forCases(t, func(t *testing.T, g generator) {
		rs := g.ruleset()
		s := snapshot(t, g.family, rs.String())
		if diff := cmp.Diff(rs.String(), s.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if s.Rules() != rs.Len() {
			t.Errorf("rules: want %d, got %d", rs.Len(), s.Rules())
		}
	})
}

func TestPlanConvergesFromAnyState(t *testing.T) {
	forCases(t, func(t *testing.T, g generator) {
		have, want := g.state(t), g.ruleset()
		after := snapshot(t, g.family, have).With(want).String()
		checkPlan(t, have, want, after)
		if diff := cmp.Diff(oursOf(want), ours(after)); diff != "" {
			t.Errorf("from\n%s\nwanted (-want +got):\n%s", have, diff)
		}
	})
}

// TestCleanLeavesTheStateBeforeApply is apply, then clean: byte for byte what was
// there, but for empty tables.
func TestCleanLeavesTheStateBeforeApply(t *testing.T) {
	forCases(t, func(t *testing.T, g generator) {
		none := iptables.Ruleset{Family: g.family}
		before := snapshot(t, g.family, g.state(t)).With(none).String() // others' alone
		applied := snapshot(t, g.family, before).With(g.ruleset())
		cleaned := applied.With(none).String()
		if diff := cmp.Diff(tablesInUse(before), tablesInUse(cleaned)); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}

// oursOf is what is ours in a state that has the rules, in an order that does not
// depend on how the state is made. It does not use the text of the ruleset.
func oursOf(rs iptables.Ruleset) []string {
	var lines []string
	for _, table := range rs.Tables {
		for _, c := range table.Chains {
			for i, r := range c.Rules {
				lines = append(lines, fmt.Sprintf("%s -A %s %s (%d)", table.Name, c.Name, r.Text(rs.Family), i))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// ours is the same of a text of iptables-save: the rules that are ours, with their
// place among those of their chain.
func ours(save string) []string {
	var lines []string
	place := map[string]int{}
	for _, line := range iptablestest.Ours(save) {
		words := strings.SplitN(line, " ", 4)
		if words[1] != "-A" {
			continue
		}
		chain := words[0] + " " + words[2]
		lines = append(lines, fmt.Sprintf("%s (%d)", line, place[chain]))
		place[chain]++
	}
	slices.Sort(lines)
	return lines
}

// tablesInUse leaves out the tables that hold nothing but built-in chains with the
// policy ACCEPT, which the kernel keeps once they were used.
func tablesInUse(save string) string {
	var used strings.Builder
	for _, table := range strings.SplitAfter(save, "COMMIT\n") {
		if strings.Contains(table, "\n-A ") || strings.Contains(table, " - [") || strings.Contains(table, " DROP [") {
			used.WriteString(table)
		}
	}
	return used.String()
}
