package capture

import (
	"math/rand/v2"
	"testing"

	"istio-init/iptables"
	"istio-init/test/size"
)

// TestIstiosRulesTellTheConfigurationTheyComeFrom: each rule of Istio's own has a
// reason, and the configuration that is read makes rules by which every packet lands
// where Istio's send it.
func TestIstiosRulesTellTheConfigurationTheyComeFrom(t *testing.T) {
	t.Parallel()
	const packets = 60
	configs := size.Of(100, 400, 1500)
	rng := rand.New(rand.NewPCG(11, 20))
	for n := range configs {
		c := withoutRepeats(randomConfig(rng, true))
		var rules [len(iptables.Families)]iptables.Ruleset
		var readings []*Reading
		for _, f := range iptables.Families {
			rules[f] = istioRules(c, f, false)
			readings = append(readings, Read(rules[f]))
			everyRuleHasAReason(t, readings[f])
		}
		got := Configuration(readings...)
		for _, f := range iptables.Families {
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

// TestEveryRuleOfIstiosHasAReason is about all that its rules can be, also where
// ours are different on purpose.
func TestEveryRuleOfIstiosHasAReason(t *testing.T) {
	t.Parallel()
	configs := size.Of(100, 400, 1500)
	rng := rand.New(rand.NewPCG(20, 26))
	for range configs {
		c := withoutRepeats(randomConfig(rng, false))
		for _, f := range iptables.Families {
			everyRuleHasAReason(t, Read(istioRules(c, f, false)))
		}
	}
}

func everyRuleHasAReason(t *testing.T, r *Reading) {
	t.Helper()
	for _, table := range r.Rules.Tables {
		for _, chain := range table.Chains {
			for i, rule := range chain.Rules {
				if r.Reason(Place{table.Name, chain.Name, i}) == "" {
					t.Errorf("%s %s: no reason for %q (%s) in\n%s", table.Name, chain.Name, rule.Text(r.Rules.Family), form(rule), r.Rules)
				}
			}
		}
	}
}
