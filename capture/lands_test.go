package capture

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/size"
)

// A verdict is where a packet lands and what it carries.
type verdict struct {
	dropped              bool
	redirected, tproxied uint16
	mark, connMark       uint32
	zone                 uint16
}

// walk sends a packet through the hooks.
func walk(rs iptables.Ruleset, p iptables.Packet) verdict {
	w := rs.Trace(p)
	if p.Hook == iptables.Output {
		w = rs.TraceSent(p)
	}
	return verdict{
		dropped: w.Verdict == iptables.Drop, redirected: w.Packet.RedirectedTo, tproxied: w.Packet.TProxiedTo,
		mark: w.Packet.Mark, connMark: w.Packet.ConnMark, zone: w.Packet.Zone,
	}
}

// TestEveryPacketLandsWhereIstioSendsIt compares our rules with Istio's, of the same
// generation, on random configs and packets: with the differences on purpose taken
// in, always; without them, where none of them is touched.
func TestEveryPacketLandsWhereIstioSendsIt(t *testing.T) {
	t.Parallel()
	const packets = 150
	configs := size.Of(60, 300, 1500)
	for _, mended := range []bool{true, false} {
		rng := rand.New(rand.NewPCG(20, 11))
		tried := map[Generation]int{}
		for range configs {
			c := randomConfig(rng, !mended)
			tried[c.Generation]++
			for _, f := range inet.Families {
				ours, theirs := Rules(c, f), istioRules(c, f, mended)
				if err := ours.Validate(); err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
				for range packets {
					p := randomPacket(rng, f)
					if !mended && c.Mode == TProxy && (p.Dst.Port() == c.TunnelPort || len(c.VirtualInterfaces) > 0) {
						continue
					}
					if want, got := walk(theirs, p), walk(ours, p); !same(c, mended, want, got) {
						t.Fatalf("config %+v\npacket %+v %+v\nwant %+v\ngot  %+v\nIstio's rules:\n%s\nours:\n%s", c, p, p.Owner, want, got, theirs, ours)
					}
				}
			}
		}
		for _, g := range []Generation{Current, Istio1_15, Istio1_0} {
			if tried[g] < configs/8 {
				t.Errorf("of %d configs only %d are of the generation %s", configs, tried[g], g)
			}
		}
	}
}

// same compares verdicts. Istio's own text marks in mode TPROXY without inbound ports
// too, to no effect, so that of that alone no marks are compared.
func same(c Config, mended bool, want, got verdict) bool {
	if !mended && c.Mode == TProxy && c.InboundPorts.Empty() {
		want.mark, want.connMark, got.mark, got.connMark = 0, 0, 0, 0
	}
	return want == got
}

func some[T any](rng *rand.Rand, most int, from ...T) []T {
	var out []T
	for range rng.IntN(most + 1) {
		out = append(out, from[rng.IntN(len(from))])
	}
	return out
}

func oneOf[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

var (
	testPorts = []iptables.PortRange{iptables.Port(53), iptables.Port(80), {Lo: 80, Hi: 90}, iptables.Port(8080), iptables.Port(15008), {Lo: 1000, Hi: 2000}}
	testNets  = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("0.0.0.0/0"),
		netip.MustParsePrefix("127.1.2.3/32"), netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("::/0"),
	}
	testLinks = []iptables.Interface{"eth1", "net1", "eth+"}
)

func randomConfig(rng *rand.Rand, plain bool) Config {
	ids := func() []iptables.IDRange {
		list := some(rng, 2, iptables.ID(0), iptables.ID(3), iptables.IDRange{Lo: 1000, Hi: 1400}, iptables.ID(1337))
		if len(list) == 0 || plain {
			return []iptables.IDRange{iptables.ID(1337)}
		}
		return list
	}
	c := Config{
		Mode: oneOf(rng, Redirect, TProxy), Generation: oneOf(rng, Current, Current, Istio1_15, Istio1_0), ProxyPort: 15001, InboundPort: oneOf[uint16](rng, 15006, 15001), TunnelPort: oneOf[uint16](rng, 15008, 8080),
		ProxyUIDs: ids(), ProxyGIDs: ids(), TProxyMark: oneOf[uint32](rng, 1337, 7), TProxyTable: 133,
		InboundPorts:     Scope[iptables.PortRange]{All: rng.IntN(2) == 0, Only: some(rng, 3, testPorts...), Except: some(rng, 3, testPorts...)},
		OutboundPrefixes: Scope[netip.Prefix]{All: rng.IntN(2) == 0, Only: some(rng, 3, testNets...), Except: some(rng, 2, testNets...)},
		OutboundPorts:    some(rng, 2, testPorts...), OutboundExcludePorts: some(rng, 2, testPorts...),
		OwnerGroups:       Scope[iptables.IDRange]{All: rng.IntN(3) > 0, Only: []iptables.IDRange{iptables.ID(uint32(rng.IntN(3))), iptables.ID(5)}, Except: some(rng, 2, iptables.ID(2), iptables.ID(5))},
		ExcludeInterfaces: some(rng, 1, testLinks...), VirtualInterfaces: some(rng, 2, testLinks...),
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
	if c.Generation == Istio1_0 {
		c.Mode = Redirect // the rules for TPROXY of that release are not ours
	} else if rng.IntN(3) == 0 && !plain {
		c.DNS = DNS{All: rng.IntN(2) == 0, Servers: some(rng, 2, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("2001:db8::53"))}
	}
	return c
}

func randomPacket(rng *rand.Rand, f inet.Family) iptables.Packet {
	addrs := [2][]string{
		{"10.1.2.3", "10.9.9.9", "127.0.0.1", "127.0.0.6", "127.1.2.3", "127.0.0.53", "1.2.3.4", "10.244.0.2"},
		{"2001:db8::53", "2001:db8:1::1", "2001:db9::1", "::1", "::6"},
	}[f]
	addr := func() netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(oneOf(rng, addrs...)), oneOf[uint16](rng, 53, 80, 85, 8080, 15008, 15053, 1500, 40000))
	}
	p := iptables.Packet{
		Hook: oneOf(rng, iptables.Output, iptables.Prerouting), Proto: oneOf(rng, iptables.TCP, iptables.TCP, iptables.UDP),
		Src: addr(), Dst: addr(), State: oneOf(rng, iptables.New, iptables.New, iptables.New, iptables.Established, iptables.Invalid),
		Mark: oneOf[uint32](rng, 0, 0, 0, 1337, 1338, 7), ConnMark: oneOf[uint32](rng, 0, 0, 1337, 7),
	}
	p.SYN = p.Proto == iptables.TCP && p.State == iptables.New
	if p.Hook == iptables.Output {
		p.Out = oneOf(rng, "lo", "lo", "eth0", "eth1", "net1")
		p.Owner = &iptables.Owner{UID: oneOf[uint32](rng, 0, 3, 1000, 1337), GID: oneOf[uint32](rng, 0, 2, 5, 1000, 1337)}
	} else {
		p.In = oneOf(rng, "lo", "eth0", "eth1", "net1")
	}
	return p
}
