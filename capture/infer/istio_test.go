package infer_test

import (
	"math/rand/v2"
	"testing"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
	"istio-init/test/size"
)

// TestConfigurationIsInferredFromIstiosRules: each rule of Istio's own has its
// reason, and the configuration that is read makes rules by which every packet lands
// where Istio's send it.
func TestConfigurationIsInferredFromIstiosRules(t *testing.T) {
	t.Parallel()
	const packets = 60
	configs := size.Of(100, 400, 1500)
	rng := rand.New(rand.NewPCG(11, 20))
	for n := range configs {
		c := istio.WithoutRepeats(istio.RandomConfig(rng, true))
		var rules [len(inet.Families)]iptables.Ruleset
		var inferences []*infer.Inference
		for _, f := range inet.Families {
			rules[f] = istio.Rules(c, f, false)
			inferences = append(inferences, infer.Infer(rules[f]))
			everyRuleHasItsReason(t, c, inferences[f])
		}
		got := infer.Configuration(inferences...)
		for _, f := range inet.Families {
			ours := capture.Rules(got, f)
			for range packets {
				p := istio.RandomPacket(rng, f)
				if c.Mode == capture.TProxy && (p.Dst.Port() == c.TunnelPort || len(c.VirtualInterfaces) > 0) {
					continue // different on purpose
				}
				if want, have := istio.Walk(rules[f], p), istio.Walk(ours, p); !istio.Same(c, false, want, have) {
					t.Fatalf("config %d %+v\nwas read as %+v\npacket %+v %+v\nwant %+v\ngot  %+v\nIstio's rules:\n%s\nof what was read:\n%s",
						n, c, got, p, p.Owner, want, have, rules[f], ours)
				}
			}
		}
	}
}

// TestEveryRuleOfIstioHasAReason is about all that its rules can be, also where
// ours are different on purpose.
func TestEveryRuleOfIstioHasAReason(t *testing.T) {
	t.Parallel()
	configs := size.Of(100, 400, 1500)
	rng := rand.New(rand.NewPCG(20, 26))
	for range configs {
		c := istio.WithoutRepeats(istio.RandomConfig(rng, false))
		for _, f := range inet.Families {
			everyRuleHasItsReason(t, c, infer.Infer(istio.Rules(c, f, false)))
		}
	}
}
