package iptables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mangleSave is a state with rules of ours.
const mangleSave = `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_A - [0:0]
:ISTIO_B - [0:0]
-A PREROUTING -p tcp -j ISTIO_A
-A ISTIO_A -s 127.0.0.6/32 -i lo -j RETURN
-A ISTIO_A -p tcp -m conntrack --ctstate INVALID -j DROP
-A ISTIO_A -p tcp -m tcp --dport 80 -j RETURN
-A ISTIO_A -p tcp -j ISTIO_B
-A ISTIO_B -p tcp -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A ISTIO_B -p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff
COMMIT
`

// TestPlanIgnoresTheWordingOfRules has what iptables might print for equal rules,
// and what looks much the same and is not.
func TestPlanIgnoresTheWordingOfRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, old, printed string
		same               bool
	}{
		{"as-we-print", "-p tcp", "-p tcp", true},
		{"protocol-by-number", "-p tcp", "-p 6", true},
		{"protocol-of-a-jump-from-a-built-in-chain", "-A PREROUTING -p tcp", "-A PREROUTING -p 6", true},
		{"another-order", "-s 127.0.0.6/32 -i lo", "-i lo -s 127.0.0.6/32", true},
		{"state-by-its-old-module", "-m conntrack --ctstate INVALID", "-m state --state INVALID", true},
		{"module-that-the-protocol-implies", "-p tcp -m tcp --dport 80", "-p tcp --dport 80", true},
		{"module-that-the-protocol-implies-and-a-comment", "-p tcp -m tcp --dport 80", "-p tcp --dport 80 -m comment --comment", false},
		{"mask-of-an-address-that-is-not-masked", "-s 127.0.0.6/32", "-s 127.0.0.6/31", false},
		{"another-port", "--dport 80 ", "--dport 81 ", false},
		{"another-port-in-other-words", "-p tcp -m tcp --dport 80 ", "-p 6 -m tcp --dport 81 ", false},
		{"another-protocol", "-p tcp -j ISTIO_B", "-p 17 -j ISTIO_B", false},
		{"negated", "-s 127.0.0.6/32 -i lo", "-i lo ! -s 127.0.0.6/32", false},
		{"one-condition-more", "-p tcp -m tcp --dport 80", "-p 6 -m tcp --dport 80 -m limit --limit 1/sec", false},
		{"comment", "-p tcp -m tcp --dport 80", "-p tcp -m tcp --dport 80 -m comment --comment web", false},
		{"address-of-a-target", "--on-ip 0.0.0.0", "--on-ip 10.0.0.1", false},
		{"masks-of-a-target", "--nfmask 0xffffffff", "--nfmask 0xff", false},
		{"target-of-that-name", "-p tcp -j ISTIO_B", "-p 6 -j ISTIO_C", false},
		{"another-jump-of-a-built-in-chain", "-A PREROUTING -p tcp", "-A PREROUTING -p 17", false},
		{
			"words-and-order", "-A ISTIO_A -s 127.0.0.6/32 -i lo -j RETURN\n-A ISTIO_A -p tcp -m conntrack --ctstate INVALID -j DROP\n",
			"-A ISTIO_A -p 6 -m conntrack --ctstate INVALID -j DROP\n-A ISTIO_A -s 127.0.0.6/32 -i lo -j RETURN\n", false,
		},
		{"once-more-in-other-words", "-A ISTIO_A -p tcp -j ISTIO_B\n", "-A ISTIO_A -p tcp -j ISTIO_B\n-A ISTIO_A -p 6 -j ISTIO_B\n", false},
	}
	want := ours(parse(t, mangleSave))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(mangleSave, tt.old, tt.printed, 1)
			if text == mangleSave && tt.old != tt.printed {
				t.Fatalf("no %q in the rules", tt.old)
			}
			change := PlanISTIO(parse(t, text), want)
			if change.Empty() != tt.same {
				t.Errorf("the same: want %t, got the change\n%+v", tt.same, change.Edits)
			}
		})
	}
}

// ours is a state as what is wanted.
func ours(s Snapshot) Ruleset {
	rs := s.Ruleset()
	for i := range rs.Tables {
		var chains []Chain
		for _, c := range rs.Tables[i].Chains {
			if len(c.Rules) > 0 {
				chains = append(chains, c)
			}
		}
		rs.Tables[i].Chains = chains
	}
	return rs
}

// TestPlanChangesOnlyDifferences though iptables prints other rules in other words.
func TestPlanChangesOnlyDifferences(t *testing.T) {
	t.Parallel()
	have := parse(t, strings.NewReplacer("-p tcp -j ISTIO_B", "-p 6 -j ISTIO_B", "--dport 80", "--dport 81").Replace(mangleSave))
	after := PlanISTIO(have, ours(parse(t, mangleSave))).After
	if diff := cmp.Diff(strings.Replace(have.String(), "--dport 81", "--dport 80", 1), after.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := PlanISTIO(after, ours(parse(t, mangleSave))); !again.Empty() {
		t.Errorf("what the change leads to is not what is wanted:\n%+v", again.Edits)
	}
}
