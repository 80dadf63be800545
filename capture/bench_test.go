package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// longConfig is the default configuration with n excluded prefixes, of which no two
// are one.
func longConfig(n int) Config {
	c := Config{
		Mode: Redirect, ProxyPort: 15001, InboundPort: 15006, TunnelPort: 15008,
		ProxyUIDs: []iptables.IDRange{iptables.ID(1337)}, ProxyGIDs: []iptables.IDRange{iptables.ID(1337)},
		InboundPorts: Scope[iptables.PortRange]{All: true}, OutboundPrefixes: Scope[netip.Prefix]{All: true},
		OwnerGroups: Scope[iptables.IDRange]{All: true},
	}
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, byte(i / 128), byte(i % 128 * 2)})
		c.OutboundPrefixes.Except = append(c.OutboundPrefixes.Except, netip.PrefixFrom(addr, 24))
	}
	return c
}

// benchmark runs something with a short and a long list.
func benchmark(b *testing.B, run func(b *testing.B, c Config)) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			run(b, longConfig(n))
		})
	}
}

func BenchmarkRules(b *testing.B) {
	benchmark(b, func(b *testing.B, c Config) {
		for b.Loop() {
			_ = Rules(c, inet.IPv4)
		}
	})
}

// BenchmarkPreview is all that a dry run makes of a configuration.
func BenchmarkPreview(b *testing.B) {
	benchmark(b, func(b *testing.B, c Config) {
		for b.Loop() {
			_ = Rules(c, inet.IPv4).String()
		}
	})
}

func BenchmarkRead(b *testing.B) {
	benchmark(b, func(b *testing.B, c Config) {
		rs := Rules(c, inet.IPv4)
		for b.Loop() {
			_ = Read(rs)
		}
	})
}

// BenchmarkJourney follows a connection to the last of the prefixes.
func BenchmarkJourney(b *testing.B) {
	benchmark(b, func(b *testing.B, c Config) {
		reading := Read(Rules(c, inet.IPv4))
		site := Site{Route: func(netip.Addr) (string, netip.Addr) { return "eth0", netip.MustParseAddr("10.244.0.2") }}
		last := c.OutboundPrefixes.Except[len(c.OutboundPrefixes.Except)-1].Addr()
		to := Connection{Owner: &iptables.Owner{UID: 1000, GID: 1000}, Dst: netip.AddrPortFrom(last, 80)}
		for b.Loop() {
			if legs := reading.Journey(c, site, to); legs[0].Landing != Direct {
				b.Fatal("want it to be left alone")
			}
		}
	})
}

// BenchmarkPlan turns what is there into a configuration: nothing, the same, one
// that differs by a prefix, and to nothing.
func BenchmarkPlan(b *testing.B) {
	for _, name := range []string{"fresh", "same", "changed", "clean"} {
		b.Run(name, func(b *testing.B) {
			benchmark(b, func(b *testing.B, c Config) {
				rs, have := Rules(c, inet.IPv4), iptables.Snapshot{}
				if name != "fresh" {
					var err error
					if have, err = iptables.ParseSnapshot(inet.IPv4, rs.String()); err != nil {
						b.Fatal(err)
					}
				}
				switch name {
				case "changed":
					c.OutboundPrefixes.Except = slices.Delete(slices.Clone(c.OutboundPrefixes.Except), 5, 6)
					rs = Rules(c, inet.IPv4)
				case "clean":
					rs = iptables.Ruleset{}
				}
				for b.Loop() {
					if script := iptables.Plan(have, rs).Script; (script == "") != (name == "same") {
						b.Fatal(script)
					}
				}
			})
		})
	}
}

func BenchmarkParse(b *testing.B) {
	benchmark(b, func(b *testing.B, c Config) {
		text := Rules(c, inet.IPv4).String()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := iptables.ParseSnapshot(inet.IPv4, text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
