package path_test

import (
	"fmt"
	"net/netip"
	"testing"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
)

// BenchmarkFollow follows a connection to the last of the prefixes.
func BenchmarkFollow(b *testing.B) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			c := istio.LongConfig(n)
			rules := infer.Infer(capture.Rules(c, inet.IPv4))
			network := path.Network{Route: func(path.RouteQuery) path.Route {
				return path.Route{Device: "eth0", Src: netip.MustParseAddr("10.244.0.2")}
			}}
			last := c.OutboundPrefixes.Except[len(c.OutboundPrefixes.Except)-1].Addr()
			to := path.Connection{Owner: &iptables.Owner{UID: 1000, GID: 1000}, Dst: netip.AddrPortFrom(last, 80)}
			for b.Loop() {
				if hops := path.Follow(rules, c, network, to); hops[0].Outcome != path.Direct {
					b.Fatal("want it not to be captured")
				}
			}
		})
	}
}
