package test

import (
	"testing"
	"time"

	"istio-init/iptables/xtables"
	"istio-init/test/kernel"
)

// TestStressNoConnectionEscapesOrFailsOnNativeNFTables: as on iptables, also if the rules move
// from a variant of iptables to tables of their own, and back.
func TestStressNoConnectionEscapesOrFailsOnNativeNFTables(t *testing.T) {
	needKernel(t)
	kernel.Need(t, "nft")
	t.Run("native", func(t *testing.T) {
		changeNativeUnderLoad(t, func(int) []string { return []string{"--native-nftables"} })
	})
	for _, v := range xtables.Variants {
		t.Run("from-and-to-"+v.String(), func(t *testing.T) {
			changeNativeUnderLoad(t, func(n int) []string {
				if n%2 == 0 {
					return in(v, nil)
				}
				return []string{"--native-nftables"}
			})
		})
	}
}

// changeNativeUnderLoad makes each change with the options of its number.
func changeNativeUnderLoad(t *testing.T, options func(n int) []string) {
	t.Helper()
	pod, _ := newLoadPod(t)
	n := 0
	run := func(step loadStep) {
		args := append(step.line(), options(n)...)
		if _, stderr, err := pod.Run(t.Context(), built, args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, stderr)
		}
		n++
	}
	before := loadSteps[len(loadSteps)-1]
	run(before)
	load := startLoad(t, pod, 30*time.Second)
	atFirst := load.Tally()
	for range rounds(1, 40) {
		for _, step := range loadSteps {
			start := load.Tally()
			run(step)
			if seen := load.Tally().Since(start); seen.Escaped+seen.Failures() > 0 {
				t.Logf("while the rules of %q became those of %q, %v: %s", before.name, step.name, options(n-1), seen)
			}
			before = step
		}
	}
	load.Stop()
	seen := load.Tally().Since(atFirst)
	t.Logf("%d applies, %s", n-1, seen)
	if seen.Escaped+seen.Failures() > 0 || seen.Captured == 0 {
		t.Errorf("connections that were not captured: %s", seen)
	}
}
