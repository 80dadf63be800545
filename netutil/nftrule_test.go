package netutil_test

import (
	"slices"
	"strings"
	"testing"

	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// TestRulesThatIptablesPrintsWithoutAConditionAreFound compares with what iptables prints.
func TestRulesThatIptablesPrintsWithoutAConditionAreFound(t *testing.T) {
	kernel.Need(t, "nft", "iptables-nft", "iptables-nft-save")
	for _, tt := range []struct{ rule, prints string }{ // prints: wrongly; "": rightly, or not at all
		{"tcp dport { 80, 443 } accept", "-A OUTPUT -p tcp -j ACCEPT"},
		{"ip daddr 10.0.0.0-10.0.0.9 accept", "-A OUTPUT -d 10.0.0.9/32 -j ACCEPT"},
		{"udp length 10 accept", "-A OUTPUT -p udp -j ACCEPT"},
		{"ip protocol vmap { tcp : accept }", "-A OUTPUT"},
		{"tcp window 5 accept", "-A OUTPUT -p tcp -j ACCEPT"},
		{"icmp code 3 accept", "-A OUTPUT -p icmp -m icmp --icmp-type any -j ACCEPT"},
		{"iifname > a accept", "-A OUTPUT -i a -j ACCEPT"},
		{"meta l4proto > 5 accept", "-A OUTPUT -p st -j ACCEPT"},
		{"tcp dport 80-90 accept", ""},
		{"tcp dport > 80 accept", ""},
		{"icmp type echo-request accept", ""},
		{"tcp dport != 80 accept", ""},
		{"tcp flags syn / syn,ack accept", ""},
		{"ip daddr 10.0.0.0/8 accept", ""},
		{"meta mark and 5 == 5 accept", ""},
		{"oifname lo accept", ""},
		{"ct state new accept", ""},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			ns := kernel.NewNetNS(t)
			ns.Run(t, "", "iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "80:90", "-s", "10.0.0.0/8", "-i", "eth+", "-j", "ACCEPT")
			ns.Run(t, "", "iptables-nft", "-N", "OTHERS")
			ns.Run(t, "", "iptables-nft", "-A", "OUTPUT", "-j", "OTHERS")
			ns.Run(t, "add rule ip filter OUTPUT "+tt.rule, "nft", "-f", "-")
			printed := strings.Split(ns.Run(t, "", "iptables-nft-save"), "\n")
			if tt.prints != "" && !slices.Contains(printed, tt.prints) {
				t.Skipf("this iptables does not print %q", tt.prints)
			}
			in(t, ns, func() error {
				got, err := netutil.MisprintedChains(inet.IPv4, "filter")
				if found := slices.Equal(got, []string{"OUTPUT"}); found != (tt.prints != "") || len(got) > 1 {
					t.Errorf("got %q", got)
				}
				return err
			})
		})
	}
}
