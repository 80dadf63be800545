package capture_test

import (
	"math/rand/v2"
	"testing"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
	"istio-init/test/size"
)

// TestPacketsAreCapturedAsByIstio compares our rules with Istio's, of the same
// generation, on random configs and packets: with the differences on purpose taken
// in, always; without them, where none of them is touched, and always those of IstioRules.
func TestPacketsAreCapturedAsByIstio(t *testing.T) {
	t.Parallel()
	const packets = 150
	configs := size.Of(60, 300, 1500)
	for _, tt := range []struct {
		rules         func(capture.Config, inet.Family) iptables.Ruleset
		mended, plain bool
	}{{capture.Rules, true, false}, {capture.Rules, false, true}, {capture.IstioRules, false, false}} {
		rng := rand.New(rand.NewPCG(20, 11))
		tried := map[capture.Generation]int{}
		for range configs {
			c := istio.RandomConfig(rng, tt.plain)
			tried[c.Generation]++
			for _, f := range inet.Families {
				ours, theirs := tt.rules(c, f), istio.Rules(c, f, tt.mended)
				if err := ours.Validate(); err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
				for range packets {
					p := istio.RandomPacket(rng, f)
					if !tt.mended && c.Mode == capture.TProxy && (tt.plain && p.Dst.Port() == c.TunnelPort || len(c.VirtualInterfaces) > 0) {
						continue
					}
					if want, got := istio.Walk(theirs, p), istio.Walk(ours, p); !istio.Same(c, tt.mended, want, got) {
						t.Fatalf("config %+v\npacket %+v %+v\nwant %+v\ngot  %+v\nIstio's rules:\n%s\nours:\n%s", c, p, p.Owner, want, got, theirs, ours)
					}
				}
			}
		}
		for _, g := range []capture.Generation{capture.Current, capture.Istio1_15, capture.Istio1_0} {
			if tried[g] < configs/8 {
				t.Errorf("of %d configs only %d are of the generation %s", configs, tried[g], g)
			}
		}
	}
}
