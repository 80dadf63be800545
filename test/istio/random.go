package istio

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Some returns a random list of at most most elements, with repetitions.
func Some[T any](rng *rand.Rand, most int, from ...T) []T {
	var out []T
	for range rng.IntN(most + 1) {
		out = append(out, from[rng.IntN(len(from))])
	}
	return out
}

// OneOf returns a random one of the values.
func OneOf[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

var (
	testPorts = []iptables.PortRange{iptables.Port(53), iptables.Port(80), {Lo: 80, Hi: 90}, iptables.Port(8080), iptables.Port(15008), {Lo: 1000, Hi: 2000}}
	testNets  = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("0.0.0.0/0"),
		netip.MustParsePrefix("127.1.2.3/32"), netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::/0"),
	}
	testLinks = []iptables.Interface{"eth1", "net1", "eth+"}
)

// RandomConfig returns a random valid configuration. A plain one has one user and one group of the
// proxy and no DNS capture: then our rules and Istio's differ only in text.
func RandomConfig(rng *rand.Rand, plain bool) capture.Config {
	ids := func() []iptables.IDRange {
		list := Some(rng, 2, iptables.ID(0), iptables.ID(3), iptables.IDRange{Lo: 1000, Hi: 1400}, iptables.ID(1337))
		if len(list) == 0 || plain {
			return []iptables.IDRange{iptables.ID(1337)}
		}
		return list
	}
	c := capture.Config{
		Mode: OneOf(rng, capture.Redirect, capture.TProxy), Generation: OneOf(rng, capture.Current, capture.Current, capture.Istio1_15, capture.Istio1_0), ProxyPort: 15001, InboundPort: OneOf[uint16](rng, 15006, 15001), TunnelPort: OneOf[uint16](rng, 15008, 8080),
		ProxyUIDs: ids(), ProxyGIDs: ids(), TProxyMark: OneOf[uint32](rng, 1337, 7), TProxyTable: 133,
		InboundPorts:     capture.Selector[iptables.PortRange]{All: rng.IntN(2) == 0, Only: Some(rng, 3, testPorts...), Except: Some(rng, 3, testPorts...)},
		OutboundPrefixes: capture.Selector[netip.Prefix]{All: rng.IntN(2) == 0, Only: Some(rng, 3, testNets...), Except: Some(rng, 2, testNets...)},
		OutboundPorts:    Some(rng, 2, testPorts...), OutboundExcludePorts: Some(rng, 2, testPorts...),
		OwnerGroups:       capture.Selector[iptables.IDRange]{All: rng.IntN(3) > 0, Only: []iptables.IDRange{iptables.ID(uint32(rng.IntN(3))), iptables.ID(5)}, Except: Some(rng, 2, iptables.ID(2), iptables.ID(5))},
		ExcludeInterfaces: Some(rng, 1, testLinks...), VirtualInterfaces: Some(rng, 2, testLinks...),
		DropInvalid: rng.IntN(4) == 0,
	}
	if c.InboundPorts.All {
		c.InboundPorts.Only = nil
	}
	if c.OutboundPrefixes.All {
		c.OutboundPrefixes.Only = nil
	}
	if rng.IntN(4) == 0 {
		c.LoopbackV4 = netip.MustParsePrefix("127.0.0.1/8")
	}
	if c.Generation == capture.Istio1_0 {
		c.Mode = capture.Redirect // the rules for TPROXY of that release are not ours
	} else if rng.IntN(3) == 0 && !plain {
		c.DNS = capture.DNS{All: rng.IntN(2) == 0, Servers: Some(rng, 2, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("2001:db8::53"))}
	}
	return c
}

// RandomPacket returns a random packet that the rules of random configurations often match.
func RandomPacket(rng *rand.Rand, f inet.Family) iptables.Packet {
	addrs := [2][]string{
		{"10.1.2.3", "10.9.9.9", "127.0.0.1", "127.0.0.6", "127.1.2.3", "127.0.0.53", "1.2.3.4", "10.244.0.2"},
		{"2001:db8::53", "2001:db8:1::1", "2001:db9::1", "::1", "::6"},
	}[f]
	addr := func() netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(OneOf(rng, addrs...)), OneOf[uint16](rng, 53, 80, 85, 8080, 15008, 15053, 1500, 40000))
	}
	p := iptables.Packet{
		Hook: OneOf(rng, iptables.Output, iptables.Prerouting), Proto: OneOf(rng, iptables.TCP, iptables.TCP, iptables.UDP),
		Src: addr(), Dst: addr(), State: OneOf(rng, iptables.New, iptables.New, iptables.New, iptables.Established, iptables.Invalid),
		Mark: OneOf[uint32](rng, 0, 0, 0, 1337, 1338, 7), ConnMark: OneOf[uint32](rng, 0, 0, 1337, 7),
	}
	p.SYN = p.Proto == iptables.TCP && p.State == iptables.New
	if p.Hook == iptables.Output {
		p.Out = OneOf(rng, "lo", "lo", "eth0", "eth1", "net1")
		p.Owner = &iptables.Owner{UID: OneOf[uint32](rng, 0, 3, 1000, 1337), GID: OneOf[uint32](rng, 0, 2, 5, 1000, 1337)}
	} else {
		p.In = OneOf(rng, "lo", "eth0", "eth1", "net1")
	}
	return p
}

// WithoutRepeats returns the config without duplicates, like the command line.
func WithoutRepeats(c capture.Config) capture.Config {
	c.InboundPorts.Only, c.InboundPorts.Except = once(c.InboundPorts.Only), once(c.InboundPorts.Except)
	c.OutboundPrefixes.Only, c.OutboundPrefixes.Except = once(c.OutboundPrefixes.Only), once(c.OutboundPrefixes.Except)
	c.OutboundPorts, c.OutboundExcludePorts = once(c.OutboundPorts), once(c.OutboundExcludePorts)
	c.OwnerGroups.Only, c.OwnerGroups.Except = once(c.OwnerGroups.Only), once(c.OwnerGroups.Except)
	c.ExcludeInterfaces, c.VirtualInterfaces = once(c.ExcludeInterfaces), once(c.VirtualInterfaces)
	c.ProxyUIDs, c.ProxyGIDs, c.DNS.Servers = once(c.ProxyUIDs), once(c.ProxyGIDs), once(c.DNS.Servers)
	return c
}

func once[T comparable](list []T) []T {
	var out []T
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// LongConfig returns the default configuration with n excluded prefixes, of which no two
// can be merged.
func LongConfig(n int) capture.Config {
	c := capture.Config{
		Mode: capture.Redirect, ProxyPort: 15001, InboundPort: 15006, TunnelPort: 15008,
		ProxyUIDs: []iptables.IDRange{iptables.ID(1337)}, ProxyGIDs: []iptables.IDRange{iptables.ID(1337)},
		InboundPorts: capture.Selector[iptables.PortRange]{All: true}, OutboundPrefixes: capture.Selector[netip.Prefix]{All: true},
		OwnerGroups: capture.Selector[iptables.IDRange]{All: true},
	}
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, byte(i / 128), byte(i % 128 * 2)})
		c.OutboundPrefixes.Except = append(c.OutboundPrefixes.Except, netip.PrefixFrom(addr, 24))
	}
	return c
}
