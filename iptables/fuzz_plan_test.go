package iptables_test

import (
	"os"
	"path/filepath"
	"testing"

	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/fake"
)

// FuzzPlan: whatever the namespace holds, the plan is taken, leads to what was
// foretold, leaves what is not ours, and leaves nothing to do. Rules in Istio's own
// forms (takeover_test.go) are the exception; none are among the seeds.
func FuzzPlan(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.save")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no dumps in testdata (%v)", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for i := range 20 {
		f.Add(generate(i, inet.IPv4).state(f))
	}
	for _, tt := range planTests {
		f.Add(state(f, tt.have...))
	}
	wants := []iptables.Ruleset{
		iptables.RulesOf(f, inet.IPv4, append(sidecar, "mangle PREROUTING -j ISTIO_DROP", "mangle ISTIO_DROP -j DROP")...), {},
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := fake.Load(text)
		if err != nil {
			return // no kernel has it
		}
		have := k.String()
		s, err := iptables.ParseSnapshot(inet.IPv4, have)
		if err != nil {
			t.Fatalf("%v\n%s", err, have)
		}
		for _, want := range wants {
			checkPlan(t, have, want, iptables.PlanISTIO(s, want).After.String())
		}
	})
}
