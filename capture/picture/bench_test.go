package picture

import (
	"testing"
	"time"

	"istio-init/iptables"
)

// TestDrawingTakesTimeByTheRules: 40 times the rules take nothing like the 1,600
// times as long that comparing each with each would, on a busy machine either.
func TestDrawingTakesTimeByTheRules(t *testing.T) {
	for _, form := range Forms {
		least := func(n int) time.Duration {
			r, best := read(t, iptables.IPv4, many(n)), time.Hour
			for range 3 {
				start := time.Now()
				Draw(form, Style{}, r)
				best = min(best, time.Since(start))
			}
			return best
		}
		if few, lots := least(500), least(20_000); lots > 400*few {
			t.Errorf("%s: %v for 500 rules, %v for 20,000", form, few, lots)
		}
	}
}
