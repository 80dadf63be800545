package capture

import (
	"math/rand/v2"
	"testing"

	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/size"
)

// TestIstiosRulesTellTheConfigurationTheyComeFrom: each rule of Istio's own has its
// reason, and the configuration that is read makes rules by which every packet lands
// where Istio's send it.
func TestIstiosRulesTellTheConfigurationTheyComeFrom(t *testing.T) {
	t.Parallel()
	const packets = 60
	configs := size.Of(100, 400, 1500)
	rng := rand.New(rand.NewPCG(11, 20))
	for n := range configs {
		c := withoutRepeats(randomConfig(rng, true))
		var rules [len(inet.Families)]iptables.Ruleset
		var readings []*Reading
		for _, f := range inet.Families {
			rules[f] = istioRules(c, f, false)
			readings = append(readings, Read(rules[f]))
			everyRuleHasItsReason(t, c, readings[f])
		}
		got := Configuration(readings...)
		for _, f := range inet.Families {
			ours := Rules(got, f)
			for range packets {
				p := randomPacket(rng, f)
				if c.Mode == TProxy && (p.Dst.Port() == c.TunnelPort || len(c.VirtualInterfaces) > 0) {
					continue // different on purpose
				}
				if want, have := walk(rules[f], p), walk(ours, p); !same(c, false, want, have) {
					t.Fatalf("config %d %+v\nwas read as %+v\npacket %+v %+v\nwant %+v\ngot  %+v\nIstio's rules:\n%s\nof what was read:\n%s",
						n, c, got, p, p.Owner, want, have, rules[f], ours)
				}
			}
		}
	}
}

// TestEveryRuleOfIstiosHasItsReason is about all that its rules can be, also where
// ours are different on purpose.
func TestEveryRuleOfIstiosHasItsReason(t *testing.T) {
	t.Parallel()
	configs := size.Of(100, 400, 1500)
	rng := rand.New(rand.NewPCG(20, 26))
	for range configs {
		c := withoutRepeats(randomConfig(rng, false))
		for _, f := range inet.Families {
			everyRuleHasItsReason(t, c, Read(istioRules(c, f, false)))
		}
	}
}
