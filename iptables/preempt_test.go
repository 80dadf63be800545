package iptables_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// TestPreemptingRulesMayTakeTCPAheadOfOurJump
func TestPreemptingRulesMayTakeTCPAheadOfOurJump(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, rule string
		want       bool
	}{
		{"accept", "-j ACCEPT", true},
		{"return", "-p tcp -m tcp --dport 22 -j RETURN", true},
		{"nat-of-others", "-p tcp -j DNAT --to-destination 10.0.0.1:80", true},
		{"chain-that-accepts", "-j TAKES", true},
		{"chain-that-leads-to-one", "-g LEADS", true},
		{"chain-that-returns", "-j RETURNS", false},
		{"empty-chain", "-j EMPTY", false},
		{"another-protocol", "-p udp -j ACCEPT", false},
		{"every-other-protocol", "! -p udp -j ACCEPT", true},
		{"all-but-tcp", "! -p tcp -j ACCEPT", false},
		{"log", `-j LOG --log-prefix "now -j ACCEPT "`, false},
		{"counted", "-p tcp", false},
		{"comment-that-reads-as-a-target", `-m comment --comment "not -j LOG but" -j ACCEPT`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			save := state(t, ":EMPTY - [0:0]", ":RETURNS - [0:0]", ":TAKES - [0:0]", ":LEADS - [0:0]", ":ISTIO_OUTPUT - [0:0]",
				"-A RETURNS -p tcp -j RETURN", "-A TAKES -p tcp -j ACCEPT", "-A LEADS -j TAKES",
				"-A OUTPUT "+tt.rule, "-A OUTPUT -j ISTIO_OUTPUT", "-A OUTPUT -j ACCEPT")
			s := snapshot(t, inet.IPv4, save)
			var want []iptables.Place
			if tt.want {
				want = []iptables.Place{{Table: "nat", Chain: "OUTPUT"}}
			}
			if diff := cmp.Diff(want, iptables.Preempting(s, iptables.OwnISTIO(s))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
