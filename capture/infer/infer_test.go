package infer_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
	"istio-init/test/size"
)

// TestRulesTellTheConfigurationTheyComeFrom: the rules of a random config are read,
// each has its reason, and what was read makes the same rules again.
func TestRulesTellTheConfigurationTheyComeFrom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 20))
	configs := size.Of(200, 1000, 4000)
	for n := range configs {
		c := istio.RandomConfig(rng, n%2 == 0)
		c = istio.WithoutRepeats(c)
		var inferences []*infer.Inference
		for _, f := range inet.Families {
			inferences = append(inferences, infer.Infer(capture.Rules(c, f)))
		}
		got := infer.Configuration(inferences...)
		for _, f := range inet.Families {
			rs := capture.Rules(c, f)
			if diff := cmp.Diff(rs.String(), capture.Rules(got, f).String()); diff != "" {
				t.Fatalf("config %d %+v\nwas read as %+v\nwhich makes (-of the config +of what was read):\n%s", n, c, got, diff)
			}
			everyRuleHasItsReason(t, c, inferences[f])
		}
	}
}
