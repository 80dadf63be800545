package iptables

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

// stateOf reads what iptables-save prints.
func stateOf(t testing.TB, f inet.Family, text string) Snapshot {
	t.Helper()
	s, err := ParseSnapshot(f, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseForeignRules(t *testing.T) {
	t.Parallel()
	isChain := func(name string) bool { return name == "DOCKER" }
	tests := []struct {
		name, text string
		want       Rule
	}{
		{"known", "-p tcp -m tcp --dport 80 -j RETURN", Rule{Match: Match{Proto: TCP, DPort: Is(Port(80))}, Target: Return}},
		{
			"condition", "-d 10.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
			Rule{
				Match: Match{Dst: Is(netip.MustParsePrefix("10.0.0.0/8"))}, Target: Jump{"DOCKER"},
				Foreign: &Foreign{Conditions: []string{"-m addrtype --dst-type LOCAL"}},
			},
		},
		{
			"negated-condition", `-m set ! --match-set a src -j ACCEPT`,
			Rule{Target: Accept, Foreign: &Foreign{Conditions: []string{"-m set ! --match-set a src"}}},
		},
		{"conditions-of-one-module", "-m statistic --mode random --probability 0.5 -j DOCKER", Rule{
			Target: Jump{"DOCKER"}, Foreign: &Foreign{Conditions: []string{"-m statistic --mode random --probability 0.5"}},
		}},
		{"negated-protocol", "! -p udp -j ACCEPT", Rule{Target: Accept, Foreign: &Foreign{Conditions: []string{"! -p udp"}}}},
		{"condition-without-options", "-m socket -j DOCKER", Rule{Target: Jump{"DOCKER"}, Foreign: &Foreign{Conditions: []string{"-m socket"}}}},
		{
			"comment", `-p udp -m comment --comment "to -j DROP \" it" -m udp --dport 53 -j ACCEPT`,
			Rule{Match: Match{Proto: UDP, DPort: Is(Port(53))}, Target: Accept, Foreign: &Foreign{}},
		},
		{"target", "-p tcp -j DNAT --to-destination 10.0.0.1:80", Rule{Match: Match{Proto: TCP}, Foreign: &Foreign{Target: "DNAT --to-destination 10.0.0.1:80"}}},
		{"target-without-options", "-o eth0 -j MASQUERADE", Rule{Match: Match{Out: Is(Interface("eth0"))}, Foreign: &Foreign{Target: "MASQUERADE"}}},
		{"goto", "-g DOCKER", Rule{Target: Goto{"DOCKER"}}},
		{"no-target", "-p tcp", Rule{Match: Match{Proto: TCP}}},
		{"nothing", "", Rule{}},
		{"other-protocol", "-p icmp -m icmp --icmp-type 8 -j DROP", Rule{
			Match: Match{Proto: 1}, Target: Drop, Foreign: &Foreign{Conditions: []string{"-m icmp --icmp-type 8"}},
		}},
		{"protocol-by-number", "-p 6 -m tcp --dport 80 -j RETURN", Rule{Match: Match{Proto: TCP, DPort: Is(Port(80))}, Target: Return, Foreign: &Foreign{}}},
		{"half-an-option", "-m tcp --dport", Rule{Foreign: &Foreign{Conditions: []string{"-m tcp --dport"}}}},
		{"half-a-target", "-p tcp -j", Rule{Match: Match{Proto: TCP}, Foreign: &Foreign{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.want.Foreign != nil {
				tt.want.Foreign.Text = tt.text
			}
			if diff := cmp.Diff(tt.want, readRule(inet.IPv4, tt.text, isChain), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// endOf is what became of a packet, in words.
func endOf(w Walk) string {
	words := []string{w.Verdict.String()}
	if w.Taken {
		words = append(words, "taken")
	}
	if w.Uncertain {
		words = append(words, "uncertain")
	}
	if w.Packet.RedirectedTo != 0 {
		words = append(words, "redirected")
	}
	if w.Packet.DNATed {
		words = append(words, "to "+w.Packet.Dst.String())
	}
	return strings.Join(words, " ")
}

func TestTraceOfForeignRulesKnowsWhatIsCertain(t *testing.T) {
	t.Parallel()
	const redirect = "-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -p tcp -j REDIRECT --to-ports 15001\n"
	tests := []struct{ name, rules, want string }{
		{"none", redirect, "ACCEPT redirected"},
		{"condition-not-met-anyhow", "-A OUTPUT -p udp -m set --match-set a dst -j ACCEPT\n" + redirect, "ACCEPT redirected"},
		{"condition-not-known", "-A OUTPUT -m set --match-set a dst -j ACCEPT\n" + redirect, "ACCEPT uncertain redirected"},
		{"condition-of-a-rule-that-does-nothing", "-A OUTPUT -m set --match-set a dst -j LOG\n" + redirect, "ACCEPT redirected"},
		{"condition-of-a-chain-that-does-nothing", "-A OUTPUT -m set --match-set a dst -j KUBE\n-A KUBE -p udp -j DNAT --to-destination 1.2.3.4\n-A KUBE -j RETURN\n" + redirect, "ACCEPT redirected"},
		{"condition-of-a-chain-that-takes", "-A OUTPUT -m set --match-set a dst -j KUBE\n-A KUBE -p tcp -j DNAT --to-destination 1.2.3.4\n" + redirect, "ACCEPT uncertain redirected"},
		{"dnat", "-A OUTPUT -p tcp -j DNAT --to-destination 1.2.3.4\n" + redirect, "ACCEPT to 1.2.3.4:80"},
		{"dnat-to-a-port", "-A OUTPUT -p tcp -j DNAT --to-destination 1.2.3.4:81 --persistent\n" + redirect, "ACCEPT to 1.2.3.4:81"},
		{"dnat-to-a-range", "-A OUTPUT -p tcp -j DNAT --to-destination 1.2.3.4-1.2.3.9\n" + redirect, "ACCEPT taken"},
		{"comment-takes-one-word", "-A OUTPUT -m comment --comment x -s 203.0.113.9/32 -j ACCEPT\n" + redirect, "ACCEPT redirected"},
		{"comment-like-an-option", "-A OUTPUT -m comment --comment -j -p udp -j ACCEPT\n" + redirect, "ACCEPT redirected"},
		{"port-without-its-module", "-A OUTPUT -p tcp --dport 80 -j ACCEPT\n" + redirect, "ACCEPT"},
		{"other-port-without-its-module", "-A OUTPUT -p tcp -m comment --comment x --dport 81 -j ACCEPT\n" + redirect, "ACCEPT redirected"},
		{"two-marks", "-A OUTPUT -m mark ! --mark 0x1/0x1 -m mark ! --mark 0x2/0x2 -j ACCEPT\n" + redirect, "ACCEPT"},
		{"two-marks-of-which-one-is-not", "-A OUTPUT -m mark ! --mark 0x1/0x1 -m mark --mark 0x2/0x2 -j ACCEPT\n" + redirect, "ACCEPT redirected"},
		{"local-destination-not-known", "-A OUTPUT -m addrtype --dst-type LOCAL -j ACCEPT\n" + redirect, "ACCEPT uncertain redirected"},
		{"state-untracked", "-A OUTPUT -m conntrack --ctstate UNTRACKED -j ACCEPT\n" + redirect, "ACCEPT redirected"},
		{"states", "-A OUTPUT -m conntrack --ctstate NEW,SNAT,DNAT -j ACCEPT\n" + redirect, "ACCEPT"},
		{"zone-of-others", redirect + "COMMIT\n*raw\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j CT --zone 5\n", "ACCEPT uncertain redirected"},
		{"zone-of-others-not-met", redirect + "COMMIT\n*raw\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p udp -j CT --zone 5\n", "ACCEPT redirected"},
		{"zone-of-answers", redirect + "COMMIT\n*raw\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j CT --zone-reply 5\n", "ACCEPT uncertain redirected"},
		{"type-of-service", redirect + "COMMIT\n*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j TOS --set-tos 0x10/0xff\n", "ACCEPT uncertain redirected"},
		{"type-of-service-behind-the-route", redirect + "COMMIT\n*mangle\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j DSCP --set-dscp 0x04\n", "ACCEPT redirected"},
		{"mark-of-a-set", redirect + "COMMIT\n*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j SET --map-set a dst --map-mark\n", "ACCEPT uncertain redirected"},
		{"mark-of-a-hash", "-A OUTPUT -j HMARK --hmark-tuple src --hmark-mod 2\n" + redirect, "ACCEPT uncertain redirected"},
		{"connection-mark", "-A OUTPUT -j CONNMARK --set-xmark 0x1/0xffffffff\n-A OUTPUT -m connmark --mark 0x1 -j ACCEPT\n" + redirect, "ACCEPT"},
		{"connection-mark-by-its-bits", "-A OUTPUT -j CONNMARK --set-xmark 0xf3/0xff\n-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xf --ctmask 0x3\n-A OUTPUT -m mark --mark 0x3 -j ACCEPT\n" + redirect, "ACCEPT"},

		{"goto-does-not-come-back", "-A OUTPUT -g KUBE\n-A KUBE -j RETURN\n" + redirect, "ACCEPT"},
		{"condition-of-a-rule-that-comes-to-the-same", redirect + "-A OUTPUT -m set --match-set a dst -j ACCEPT\n", "ACCEPT redirected"},
		{"condition-met-or-not-it-passes", "-A OUTPUT -m set --match-set a dst -j ACCEPT\n-A OUTPUT -p udp -j ISTIO_OUTPUT\n", "ACCEPT"},
		{"condition-of-a-chain-that-may-accept", "-A OUTPUT -j KUBE\n-A KUBE -m set --match-set a dst -j KUBE2\n-A KUBE2 -m limit --limit 1/sec -j ACCEPT\n" + redirect, "ACCEPT uncertain redirected"},
		{"condition-in-the-way-of-a-mark", "-A OUTPUT -m set --match-set a dst -j ACCEPT\n-A OUTPUT -j MARK --set-xmark 0x1/0x1\n", "ACCEPT uncertain"},
		{"condition-of-a-drop", "-A OUTPUT -m set --match-set a dst -j REJECT\n", "ACCEPT uncertain"},
		{"other-protocol", "-A OUTPUT -p icmp -j ACCEPT\n-A OUTPUT -p sctp -m sctp --dport 7 -j REJECT\n-A OUTPUT -p 250 -j REJECT\n" + redirect, "ACCEPT redirected"},
		{"protocol-by-number", "-A OUTPUT -p 6 -m tcp --dport 1:65534 -j ACCEPT\n" + redirect, "ACCEPT"},
		{"groups-besides-the-first", "-A OUTPUT -m owner --gid-owner 99 --suppl-groups -j ACCEPT\n" + redirect, "ACCEPT uncertain redirected"},
		{"comment-is-no-condition", "-A OUTPUT -m comment --comment \"x\" -j ACCEPT\n" + redirect, "ACCEPT"},
		{"reject", "-A OUTPUT -p tcp -j REJECT --reject-with icmp-port-unreachable\n" + redirect, "DROP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:KUBE - [0:0]\n:KUBE2 - [0:0]\n" + tt.rules + "COMMIT\n"
			got := endOf(stateOf(t, inet.IPv4, text).Ruleset().Trace(outbound))
			if got != tt.want {
				t.Errorf("the walk ends %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPolicyOfABuiltinChainDecidesAtItsEnd(t *testing.T) {
	t.Parallel()
	const text = "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT DROP [0:0]\n-A OUTPUT -p udp -j ACCEPT\nCOMMIT\n"
	rs := stateOf(t, inet.IPv4, text).Ruleset()
	w := rs.Trace(outbound)
	if w.Verdict != Drop || len(w.Steps) != 1 || w.Steps[0].Index != 1 {
		t.Errorf("TCP meets %s, want the policy DROP behind the one rule", way(w))
	}
	udp := outbound
	udp.Proto = UDP
	if w := rs.Trace(udp); w.Verdict != Accept {
		t.Errorf("UDP meets %s, want ACCEPT", way(w))
	}
}

func TestTraceOfEndlessChainsEnds(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("*nat\n:OUTPUT ACCEPT [0:0]\n")
	const chains = 40 // each asks twice for the next: 2^40 ways
	for i := range chains {
		b.WriteString(":K" + strings.Repeat("I", i) + " - [0:0]\n")
	}
	b.WriteString("-A OUTPUT -j K\n")
	for i := range chains - 1 {
		line := "-A K" + strings.Repeat("I", i) + " -m set --match-set a dst -j K" + strings.Repeat("I", i+1) + "\n"
		b.WriteString(line + line)
	}
	b.WriteString("COMMIT\n")
	checkBrokenOff(t, stateOf(t, inet.IPv4, b.String()).Ruleset())
}

func TestTraceOfChainsThatLeadBackToThemselvesEnds(t *testing.T) {
	t.Parallel()
	for _, rules := range []string{"-A K -j K\n", "-A K -g K\n", "-A K -m set --match-set a dst -j K\n-A K -m set --match-set b dst -j K\n"} {
		text := "*nat\n:OUTPUT ACCEPT [0:0]\n:K - [0:0]\n-A OUTPUT -j K\n" + rules + "COMMIT\n"
		for _, f := range inet.Families {
			checkBrokenOff(t, stateOf(t, f, text).Ruleset())
		}
	}
}

// checkBrokenOff wants a walk that does not end by itself to end with its budget, and
// to be called uncertain.
func checkBrokenOff(t *testing.T, rs Ruleset) {
	t.Helper()
	const budget = 1 << 10
	tracer := NewTracer(rs)
	tracer.budget = budget
	w := tracer.Trace(outbound)
	if !w.Uncertain || len(w.Steps) > budget {
		t.Errorf("a walk that was broken off after %d steps is called certain: %t, by\n%s", len(w.Steps), !w.Uncertain, rs)
	}
}

func TestValidateRefusesForeignRules(t *testing.T) {
	t.Parallel()
	rs := Ruleset{Tables: []Table{{Name: NAT, Chains: []Chain{{Name: "ISTIO_A", Rules: []Rule{{Foreign: &Foreign{Text: "-j X"}}}}}}}}
	if err := rs.Validate(); err == nil || !strings.Contains(err.Error(), "is not ours to make") {
		t.Errorf("Validate says %v", err)
	}
}
