package netutil_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil"
	"istio-init/test/kernel"
)

// foreignTables are nftables of others, with chains that cannot decide beside those that do.
const foreignTables = `
table ip nat {
	chain KUBEVIRT { return; }
	chain kubevirt { type nat hook output priority -100; jump KUBEVIRT; }
	chain PREROUTING { type nat hook prerouting priority -90; return; }
	chain INPUT2 { type nat hook input priority 100; return; }
}
table ip6 mangle { chain output { type route hook output priority -150; mark set 1; }; }
table inet firewalld {
	chain filter_INPUT { type filter hook input priority 10; policy accept; tcp dport 1 drop; }
	chain filter_OUTPUT { type filter hook output priority 10; policy accept; }
	chain filter_FORWARD { type filter hook forward priority 10; policy drop; }
	chain ingress { type filter hook ingress device lo priority 0; drop; }
}
table netdev guard { chain in { type filter hook ingress devices = { lo, eth0 } priority -500; drop; }; }
table bridge filter { chain FORWARD { type filter hook forward priority -200; drop; }; }
table arp filter { chain OUTPUT { type filter hook output priority 0; policy drop; }; }
table inet istio-proxy-nat { chain output { type nat hook output priority -100; return; }; }
table inet asleep { flags dormant; chain input { type filter hook input priority 0; drop; }; }
`

// TestBaseChainsOfOthersAreListed: of iptables' own tables too, in every family, and
// neither the built-in chains of iptables nor those that cannot decide.
func TestBaseChainsOfOthersAreListed(t *testing.T) {
	kernel.Need(t, "nft", "ip", "iptables-nft")
	ns := kernel.NewNetNS(t)
	for _, args := range []string{"add eth0 type veth peer name eth1", "add br0 type bridge", "set eth0 master br0"} {
		ns.Run(t, "", "ip", append([]string{"link"}, strings.Fields(args)...)...)
	}
	for _, table := range []string{"raw", "mangle", "nat", "filter", "security"} {
		ns.Run(t, "", "iptables-nft", "-t", table, "-A", "OUTPUT", "-j", "RETURN")
		ns.Run(t, "", "iptables-nft", "-t", table, "-N", "ISTIO_OUTPUT")
	}
	ns.Run(t, foreignTables, "nft", "-f", "-")
	in(t, ns, func() error {
		seen := netutil.LookAtNetfilter("istio-proxy-", "")
		var got []string
		for _, c := range seen.Foreign {
			got = append(got, fmt.Sprintf("%s %s %s: %s %s %d %v drops=%t rules=%t", c.Family, c.Table, c.Name, c.Type, c.Hook, c.Priority, c.Devices, c.Drops, c.HasRules))
		}
		want := []string{
			"ip nat kubevirt: nat output -100 [] drops=false rules=true",
			"ip nat PREROUTING: nat prerouting -90 [] drops=false rules=true",
			"ip nat INPUT2: nat input 100 [] drops=false rules=true",
			"ip6 mangle output: route output -150 [] drops=false rules=true",
			"inet firewalld filter_INPUT: filter input 10 [] drops=false rules=true",
			"inet firewalld filter_FORWARD: filter forward 10 [] drops=true rules=false",
			"inet firewalld ingress: filter ingress 0 [lo] drops=false rules=true",
			"netdev guard in: filter ingress -500 [eth0 lo br0] drops=false rules=true",
			"bridge filter FORWARD: filter forward -200 [br0] drops=false rules=true",
			"arp filter OUTPUT: filter output 0 [] drops=true rules=false",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		return seen.ForeignErr
	})
}
