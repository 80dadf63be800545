package path_test

import (
	"net/netip"
	"testing"

	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// TestForeignChainsThatMayDecide has chains of nftables at the hooks that a connection
// passes: PREROUTING and INPUT, by eth0.
func TestForeignChainsThatMayDecide(t *testing.T) {
	t.Parallel()
	established := from("10.244.1.1:4000", "eth0", "10.244.0.2:8080")
	established.State = iptables.Established
	for _, tt := range []struct {
		name  string
		chain path.BaseChain
		c     path.Connection
		want  bool
	}{
		{"inet-input", path.BaseChain{Family: "inet", Type: "filter", Hook: "input", HasRules: true}, from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), true},
		{"without-rules", path.BaseChain{Family: "inet", Type: "filter", Hook: "input"}, from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), false},
		{"policy", path.BaseChain{Family: "inet", Type: "filter", Hook: "input", Drops: true}, from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), true},
		{"other-family", path.BaseChain{Family: "ip6", Type: "filter", Hook: "input", HasRules: true}, from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), false},
		{"hook-of-the-answer", path.BaseChain{Family: "ip", Type: "filter", Hook: "output", HasRules: true}, from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), true},
		{"other-hook", path.BaseChain{Family: "ip", Type: "filter", Hook: "forward", HasRules: true}, from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), false},
		{"nat", path.BaseChain{Family: "ip", Type: "nat", Hook: "prerouting", HasRules: true}, from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), true},
		{"nat-later", path.BaseChain{Family: "ip", Type: "nat", Hook: "prerouting", HasRules: true}, established, false},
		{"ingress", path.BaseChain{Family: "netdev", Type: "filter", Hook: "ingress", HasRules: true, Devices: []string{"eth0"}}, established, true},
		{"ingress-inet", path.BaseChain{Family: "inet", Type: "filter", Hook: "ingress", HasRules: true, Devices: []string{"eth0"}}, established, true},
		{"ingress-elsewhere", path.BaseChain{Family: "netdev", Type: "filter", Hook: "ingress", HasRules: true, Devices: []string{"eth1"}}, established, false},
		{"egress", path.BaseChain{Family: "netdev", Type: "filter", Hook: "egress", HasRules: true, Devices: []string{"eth0"}}, established, false},
		{"egress-out", path.BaseChain{Family: "netdev", Type: "filter", Hook: "egress", HasRules: true, Devices: []string{"eth0"}}, to("10.0.0.5:80"), true},
		{"bridge", path.BaseChain{Family: "bridge", Type: "filter", Hook: "input", HasRules: true, Devices: []string{"br0"}}, established, false},
		{"bridge-out", path.BaseChain{Family: "bridge", Type: "filter", Hook: "output", HasRules: true, Devices: []string{"br0"}}, path.Connection{
			Proto: iptables.TCP, Owner: app, Dst: netip.MustParseAddrPort("10.0.0.5:80"), Out: "br0",
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := infer.Infer(inText(t, inet.IPv4, ""))
			c := infer.Configuration(r)
			network := testNetwork(c)
			network.BaseChains = []path.BaseChain{tt.chain}
			if hop := path.Follow(r, c, network, tt.c)[0]; hop.Uncertain() != tt.want {
				t.Errorf("want uncertain %t, got %+v", tt.want, hop.Caveats)
			}
		})
	}
}
