package capture_test

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
	"istio-init/test/istio"
	"istio-init/test/size"
)

// TestLongListsOfGroupsMatchTheirElements: whatever the length of the list, a connection is
// captured if its group is not excluded, and each process meets a few dozen rules.
func TestLongListsOfGroupsMatchTheirElements(t *testing.T) {
	t.Parallel()
	const packets, mostRules = 200, 110
	rng := rand.New(rand.NewPCG(16, 4))
	for range size.Of(20, 60, 300) {
		c := istio.LongConfig(istio.OneOf(rng, 0, 2, 200))
		c.OwnerGroups.Except = randomGroups(rng)
		c.OutboundPorts = []iptables.PortRange{iptables.Port(9000)}
		rs := capture.Rules(c, inet.IPv4)
		if err := rs.Validate(); err != nil {
			t.Fatal(err)
		}
		for range packets {
			r := istio.OneOf(rng, c.OwnerGroups.Except...)
			p := iptables.Packet{
				Hook: iptables.Output, Out: "eth0", Proto: iptables.TCP, State: iptables.New, SYN: true,
				Src: netip.MustParseAddrPort("10.244.0.2:5"), Dst: netip.MustParseAddrPort("1.2.3.4:80"),
				Owner: &iptables.Owner{UID: 1000, GID: istio.OneOf(rng, r.Lo, r.Hi, r.Lo-1, r.Hi+1)},
			}
			excluded := func(r iptables.IDRange) bool { return r.Contains(p.Owner.GID) }
			want := p.Owner.GID != 1337 && !slices.ContainsFunc(c.OwnerGroups.Except, excluded)
			if got := rs.Trace(p).Packet.RedirectedTo == c.ProxyPort; got != want {
				t.Fatalf("config %+v\nfrom %+v: captured %t, want %t", c, *p.Owner, got, want)
			}
		}
		for _, chain := range rs.Table(iptables.NAT).Chains {
			if len(chain.Rules) > mostRules {
				t.Errorf("%d groups: %s has %d rules", len(c.OwnerGroups.Except), chain.Name, len(chain.Rules))
			}
		}
		if diff := cmp.Diff(rs.String(), capture.Rules(infer.Configuration(infer.Infer(rs)), inet.IPv4).String()); diff != "" {
			t.Fatalf("config %+v\nread back it makes other rules (-want +got):\n%s", c, diff)
		}
	}
}

func randomGroups(rng *rand.Rand) []iptables.IDRange {
	var groups []iptables.IDRange
	for range istio.OneOf(rng, 1, iptables.MaxGroupRules, iptables.MaxGroupRules+1, 300, 3000) {
		lo := istio.OneOf(rng, uint32(1+rng.IntN(5000)), 100000+rng.Uint32N(1<<20))
		groups = append(groups, iptables.IDRange{Lo: lo, Hi: lo + istio.OneOf[uint32](rng, 0, 0, 0, 1, 9)})
	}
	return groups
}
