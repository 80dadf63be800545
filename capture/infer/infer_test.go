package infer_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/nftables"
	"istio-init/test/istio"
	"istio-init/test/size"
)

// TestRolesOfInferredRulesAreThoseOfTheRules: the roles that are inferred from the text of rules are
// those with which the rules were made. Where two rules of a chain are the same, either role is right.
func TestRolesOfInferredRulesAreThoseOfTheRules(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(14, 3))
	for n := range size.Of(200, 1000, 4000) {
		c := istio.WithoutRepeats(istio.RandomConfig(rng, n%2 == 0))
		if c.Generation == capture.Istio1_0 {
			c.OwnerGroups.Except = nil // which it did not have: its rules do not tell them from the proxy's
		}
		if c.Generation == capture.Istio1_15 {
			c.TunnelPort = capture.DefaultTunnelPort // another one may be of -d by its rule
		}
		for _, f := range inet.Families {
			rules := capture.Rules(c, f)
			for i, table := range infer.Infer(withoutRoles(rules)).Rules.Tables {
				for j, chain := range table.Chains {
					made := rules.Tables[i].Chains[j].Rules
					for k, rule := range chain.Rules {
						text := rule.Text(f)
						if !slices.ContainsFunc(made, func(r iptables.Rule) bool { return r.Text(f) == text && r.Role == rule.Role }) {
							t.Fatalf("config %+v\n%s %s %s: the role is %s, want %s", c, table.Name, chain.Name, text,
								capture.RoleName(rule.Role), capture.RoleName(made[k].Role))
						}
					}
				}
			}
		}
	}
}

// withoutRoles returns rules as they are read from a kernel.
func withoutRoles(rs iptables.Ruleset) iptables.Ruleset {
	out := iptables.Ruleset{Family: rs.Family}
	for _, table := range rs.Tables {
		t := iptables.Table{Name: table.Name}
		for _, chain := range table.Chains {
			c := iptables.Chain{Name: chain.Name, Rules: slices.Clone(chain.Rules)}
			for i := range c.Rules {
				c.Rules[i].Role = capture.RoleUnknown
			}
			t.Chains = append(t.Chains, c)
		}
		out.Tables = append(out.Tables, t)
	}
	return out
}

// TestConfigurationIsInferredFromItsRules: the rules of a random config are read,
// each has its reason, and what was read makes the same rules again.
func TestConfigurationIsInferredFromItsRules(t *testing.T) {
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

// TestTunnelPortIsInferredFromNativeRules: with DNS it is in a set with port 53, in ascending order.
func TestTunnelPortIsInferredFromNativeRules(t *testing.T) {
	t.Parallel()
	for _, port := range []uint16{1, 22, 52, 54, 15008} {
		for _, dns := range []bool{false, true} {
			c := inboundAndOutbound()
			c.TunnelPort, c.DNS.All = port, dns
			table, err := nftables.Compile(capture.ListRules(c, inet.IPv4))
			if err != nil {
				t.Fatal(err)
			}
			got := infer.Configuration(infer.Infer(withoutRoles(table.Ruleset())))
			if got.TunnelPort != port || len(got.InboundPorts.Except) > 0 {
				t.Errorf("DNS %v: want the tunnel port %d and no excluded one, got %d and %v", dns, port, got.TunnelPort, got.InboundPorts.Except)
			}
		}
	}
}

// TestForeignRulesOfRawDoNotMakeReleases has rules of today's release and foreign ones in raw.
func TestForeignRulesOfRawDoNotMakeReleases(t *testing.T) {
	t.Parallel()
	c := inboundAndOutbound()
	for _, rule := range []string{"-p tcp -j CT --notrack", "-p tcp -j CT --zone 5", "-p udp -m udp --dport 53 -j ACCEPT"} {
		rules := capture.Rules(c, inet.IPv4).String() + "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT " + rule + "\nCOMMIT\n"
		s, err := iptables.ParseSnapshot(inet.IPv4, rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := infer.Configuration(infer.Infer(s.Ruleset())).Generation; got != capture.Current {
			t.Errorf("with %q in raw OUTPUT the release is %s, want %s", rule, got, capture.Current)
		}
	}
}

// inboundAndOutbound returns the configuration -i '*' -b '*'.
func inboundAndOutbound() capture.Config {
	return capture.Config{
		Generation: capture.Current, ProxyPort: 15001, InboundPort: 15006, TunnelPort: 15008,
		ProxyUIDs: []iptables.IDRange{iptables.ID(1337)}, ProxyGIDs: []iptables.IDRange{iptables.ID(1337)},
		InboundPorts: capture.Selector[iptables.PortRange]{All: true}, OutboundPrefixes: capture.Selector[netip.Prefix]{All: true},
		OwnerGroups: capture.Selector[iptables.IDRange]{All: true},
	}
}
