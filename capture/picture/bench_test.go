package picture

import (
	"fmt"
	"testing"

	"istio-init/capture/infer"
	"istio-init/cmd/istio-init/report"
	"istio-init/netutil/inet"
)

// TestWorkGrowsLikeTheRules: 40 times the rules take about 40 times the allocations, not
// the 1,600 times that comparing each with each would.
func TestWorkGrowsLikeTheRules(t *testing.T) {
	some, all := read(t, inet.IPv4, many(500)), read(t, inet.IPv4, many(20_000))
	for _, format := range Formats {
		allocations := func(r *infer.Inference) float64 {
			return testing.AllocsPerRun(1, func() { Draw(format, Terminal{}, report.Reason, r) })
		}
		if few, lots := allocations(some), allocations(all); lots > 60*few {
			t.Errorf("%s: %v allocations for 500 rules, %v for 20,000", format, few, lots)
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	for _, format := range Formats {
		for _, n := range []int{500, 20_000} {
			r := read(b, inet.IPv4, many(n))
			b.Run(fmt.Sprintf("%s/%d", format, n), func(b *testing.B) {
				for b.Loop() {
					Draw(format, Terminal{}, report.Reason, r)
				}
			})
		}
	}
}
