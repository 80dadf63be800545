package capture_test

import (
	"encoding/binary"
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

// randomPrefix is a prefix of a family, near others often.
func randomPrefix(rng *rand.Rand, f inet.Family) netip.Prefix {
	bytes := make([]byte, []int{4, 16}[f])
	binary.BigEndian.PutUint32(bytes, rng.Uint32())
	if rng.IntN(2) == 0 { // close to others
		copy(bytes, [][]byte{{10, 1}, {0x20, 0x01, 0x0d, 0xb8}}[f])
	}
	if f == inet.IPv6 && rng.IntN(2) == 0 {
		binary.BigEndian.PutUint64(bytes[8:], rng.Uint64())
	}
	addr, _ := netip.AddrFromSlice(bytes)
	low := []int{14, 30}[f]
	return netip.PrefixFrom(addr, low+rng.IntN(addr.BitLen()-low+1))
}

// near is an address in a prefix, at its edge, or right beside it.
func near(rng *rand.Rand, p netip.Prefix) netip.Addr {
	first := p.Masked().Addr()
	last := first.AsSlice()
	for bit := p.Bits(); bit < first.BitLen(); bit++ {
		last[bit/8] |= 1 << (7 - bit%8)
	}
	end, _ := netip.AddrFromSlice(last)
	a := istio.OneOf(rng, p.Addr(), first, end, first.Prev(), end.Next())
	if !a.IsValid() {
		return first
	}
	return a
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func hasPort(list []iptables.PortRange, port uint16) bool {
	return slices.ContainsFunc(list, func(r iptables.PortRange) bool { return r.Contains(port) })
}

// TestLongListsMatchTheirElements: whatever the length of the lists, a
// connection is captured when its destination is not excluded, and its port or its
// destination is included.
func TestLongListsMatchTheirElements(t *testing.T) {
	t.Parallel()
	const packets = 300
	configs := size.Of(40, 100, 300)
	rng := rand.New(rand.NewPCG(6, 20))
	lengths := []int{0, 1, iptables.MaxPrefixRules, iptables.MaxPrefixRules + 1, 60, 300, 1000}
	for range configs {
		f := istio.OneOf(rng, inet.IPv4, inet.IPv6)
		c := istio.RandomConfig(rng, true)
		c.Mode, c.Generation, c.OwnerGroups, c.DNS = capture.Redirect, capture.Current, capture.Selector[iptables.IDRange]{All: true}, capture.DNS{}
		c.OutboundPrefixes = capture.Selector[netip.Prefix]{All: rng.IntN(3) == 0}
		for range istio.OneOf(rng, lengths...) {
			c.OutboundPrefixes.Except = append(c.OutboundPrefixes.Except, randomPrefix(rng, f))
		}
		for range istio.OneOf(rng, lengths...) {
			if !c.OutboundPrefixes.All {
				c.OutboundPrefixes.Only = append(c.OutboundPrefixes.Only, randomPrefix(rng, f))
			}
		}
		c.OutboundPorts, c.OutboundExcludePorts = randomPorts(rng), randomPorts(rng)
		c = istio.WithoutRepeats(c)
		rs := capture.Rules(c, f)
		if err := rs.Validate(); err != nil {
			t.Fatal(err)
		}
		for range packets {
			p := istio.RandomPacket(rng, f)
			p.Hook, p.In, p.Out, p.Proto, p.State, p.SYN = iptables.Output, "", "eth0", iptables.TCP, iptables.New, true
			p.Owner = &iptables.Owner{UID: 1000, GID: 1000}
			if list := slices.Concat(c.OutboundPrefixes.Only, c.OutboundPrefixes.Except); len(list) > 0 {
				p.Dst = netip.AddrPortFrom(near(rng, istio.OneOf(rng, list...)), uint16(rng.IntN(3000)))
			}
			o, dst, port := c.OutboundPrefixes, p.Dst.Addr(), p.Dst.Port()
			want := !hasPort(c.OutboundExcludePorts, port) && !capture.Loopback(c, f).Contains(dst) && !contains(o.Except, dst) &&
				!slices.Contains(c.ExcludeInterfaces, "eth+") && (o.All || hasPort(c.OutboundPorts, port) || contains(o.Only, dst))
			if got := rs.Trace(p).Packet.RedirectedTo == c.ProxyPort; got != want {
				t.Fatalf("config %+v\nto %s: captured %t, want %t", c, p.Dst, got, want)
			}
		}
		if diff := cmp.Diff(rs.String(), capture.Rules(infer.Configuration(infer.Infer(rs)), f).String()); diff != "" {
			t.Fatalf("config %+v\nread back it makes other rules (-want +got):\n%s", c, diff)
		}
	}
}

func randomPorts(rng *rand.Rand) []iptables.PortRange {
	var ports []iptables.PortRange
	for range istio.OneOf(rng, 0, 3, iptables.MaxPortRules, iptables.MaxPortRules+1, 40, 300) {
		lo := uint16(1 + rng.IntN(2900))
		ports = append(ports, iptables.PortRange{Lo: lo, Hi: lo + istio.OneOf[uint16](rng, 0, 0, 0, 1, 5)})
	}
	return ports
}

// TestInboundPortListsMatchTheirElements is the same for ports of the pod,
// in both modes.
func TestInboundPortListsMatchTheirElements(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 21))
	const packets = 200
	configs := size.Of(50, 200, 200)
	for range configs {
		c := istio.RandomConfig(rng, true)
		c.Generation, c.ExcludeInterfaces, c.VirtualInterfaces = capture.Current, nil, nil
		c.InboundPorts = capture.Selector[iptables.PortRange]{All: rng.IntN(2) == 0, Except: randomPorts(rng)}
		if !c.InboundPorts.All {
			c.InboundPorts.Only = randomPorts(rng)
		}
		rs := capture.Rules(c, inet.IPv4)
		if err := rs.Validate(); err != nil {
			t.Fatal(err)
		}
		for range packets {
			p := istio.RandomPacket(rng, inet.IPv4)
			p.Hook, p.In, p.Out, p.Owner, p.Mark = iptables.Prerouting, "eth0", "", nil, 0
			p.Proto, p.State, p.SYN = iptables.TCP, iptables.New, true
			p.Src, p.Dst = netip.MustParseAddrPort("10.9.9.9:5"), netip.AddrPortFrom(netip.MustParseAddr("10.244.0.2"), uint16(rng.IntN(3000)))
			port := p.Dst.Port()
			want := port != c.TunnelPort && (c.InboundPorts.All && !hasPort(c.InboundPorts.Except, port) || hasPort(c.InboundPorts.Only, port))
			w := rs.Trace(p).Packet
			if got := w.RedirectedTo == c.InboundPort || w.TProxiedTo == c.InboundPort; got != want {
				t.Fatalf("config %+v\nto port %d: captured %t, want %t", c, port, got, want)
			}
		}
	}
}

// TestLongListsAreShallowTrees counts the rules that a
// connection is compared with.
func TestLongListsAreShallowTrees(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 22))
	for _, f := range inet.Families {
		c := istio.RandomConfig(rng, true)
		c.OutboundPrefixes = capture.Selector[netip.Prefix]{All: true}
		for range 5000 {
			c.OutboundPrefixes.Except = append(c.OutboundPrefixes.Except, randomPrefix(rng, f))
		}
		most := 0
		for _, chain := range capture.PrefixChains(c, f) {
			most = max(most, len(chain.Rules))
		}
		if most > 2*iptables.MaxBranches+1 {
			t.Errorf("%s: a chain has %d rules", f, most)
		}
		if depth := treeDepth(capture.PrefixChains(c, f), capture.ChainExclude); depth > 6 {
			t.Errorf("%s: the tree is %d chains deep", f, depth)
		}
	}
}

func treeDepth(chains []iptables.Chain, name string) int {
	deepest := 0
	for _, c := range chains {
		for _, r := range c.Rules {
			if to, ok := r.Target.(iptables.Goto); ok && c.Name == name && to.Chain != capture.ChainOutputApp {
				deepest = max(deepest, treeDepth(chains, to.Chain))
			}
		}
	}
	return deepest + 1
}
