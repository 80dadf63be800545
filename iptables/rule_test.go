package iptables

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

// natOf is a table nat whose OUTPUT jumps to ISTIO_A, which holds the rules.
func natOf(rules ...Rule) Ruleset {
	return Ruleset{Tables: []Table{{Name: NAT, Chains: []Chain{
		{Name: Output, Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_A"}}}},
		{Name: "ISTIO_A", Rules: rules},
	}}}}
}

func chains(table string, chains ...Chain) Ruleset {
	return Ruleset{Tables: []Table{{Name: table, Chains: chains}}}
}

func TestValidateAcceptsWhatTheKernelAccepts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		rs   Ruleset
	}{
		{"nothing", Ruleset{}},
		{"empty-chain", chains(NAT, Chain{Name: "ISTIO_A"})},
		{"longest-name", chains(NAT, Chain{Name: "ISTIO_" + strings.Repeat("X", 22)})},
		{"redirect-of-tcp", natOf(Rule{Match: Match{Proto: TCP}, Target: Redirect{15001}})},
		{"redirect-of-udp", natOf(Rule{Match: Match{Proto: UDP}, Target: Redirect{15053}})},
		{"fifteen-ports", natOf(Rule{Match: Match{Proto: TCP, DPorts: Is(make([]PortRange, 15))}, Target: Return})},
		{"seven-ranges-and-a-port", natOf(Rule{Match: Match{Proto: TCP, DPorts: Is(append(ranges(7), Port(99)))}, Target: Return})},
		{"every-address", natOf(Rule{Match: Match{Src: Is(prefix("0.0.0.0/0"))}, Target: Return})},
		{"ipv6", Ruleset{Family: inet.IPv6, Tables: natOf(Rule{Match: Match{Dst: Is(prefix("::6/128"))}, Target: Return}).Tables}},
		{"chain-declared-after-the-jump", chains(NAT,
			Chain{Name: "ISTIO_B", Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_A"}}}}, Chain{Name: "ISTIO_A"})},
		{"two-ways-to-one-chain", chains(NAT,
			Chain{Name: Output, Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_A"}}, {Match: Match{}, Target: Jump{"ISTIO_B"}}}},
			Chain{Name: "ISTIO_A", Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_C"}}}},
			Chain{Name: "ISTIO_B", Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_C"}}}},
			Chain{Name: "ISTIO_C"})},
		{"not-a-syn", chains(Mangle, Chain{Name: "ISTIO_A", Rules: []Rule{{Match: Match{Proto: TCP, SYN: Not(true)}, Target: Return}}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.rs.Validate(); err != nil {
				t.Errorf("want no error, got %v", err)
			}
		})
	}
}

// ranges returns n ranges of two ports.
func ranges(n int) []PortRange {
	list := make([]PortRange, n)
	for i := range list {
		list[i] = PortRange{uint16(10 * i), uint16(10*i + 1)}
	}
	return list
}

func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		rs   Ruleset
		want string // the error has it
	}{
		{"unknown-table", chains("nope"), `table "nope": no such table`},
		{"chain-twice", chains(NAT, Chain{Name: "ISTIO_A"}, Chain{Name: "ISTIO_A"}), "table nat: chain ISTIO_A is there twice"},
		{"chain-of-another-table", chains(NAT, Chain{Name: "FORWARD"}), `table nat: no built-in chain FORWARD`},
		{"chain-of-somebody-else", chains(NAT, Chain{Name: "KUBE-SERVICES"}), `table nat: chain "KUBE-SERVICES": name of other than capitals, digits and _`},
		{"long-name", chains(NAT, Chain{Name: "ISTIO_" + strings.Repeat("X", 23)}), "name longer than 28 bytes"},
		{"no-target", natOf(Rule{Match: Match{Proto: TCP}}), `table nat: chain ISTIO_A: rule 1 "-p tcp": has no target`},
		{
			"verdict-in-built-in-chain", chains(NAT, Chain{Name: Output, Rules: []Rule{{Match: Match{}, Target: Return}}}),
			`table nat: chain OUTPUT: rule 1 "-j RETURN": a built-in chain may only hold jumps to our chains`,
		},
		{"jump-to-nowhere", natOf(Rule{Match: Match{}, Target: Jump{"ISTIO_B"}}), `jumps to "ISTIO_B", which is no chain of ours in the table`},
		{"jump-to-somebody-else", natOf(Rule{Match: Match{}, Target: Jump{"KUBE-SERVICES"}}), `jumps to "KUBE-SERVICES", which is no chain of ours in the table`},
		{"jump-to-built-in", natOf(Rule{Match: Match{}, Target: Jump{Prerouting}}), `jumps to "PREROUTING", which is no chain of ours in the table`},
		{"redirect-outside-nat", chains(Mangle, Chain{Name: "ISTIO_A", Rules: []Rule{{Match: Match{Proto: TCP}, Target: Redirect{1}}}}), "the target is not allowed in the table"},
		{"redirect-of-any-protocol", natOf(Rule{Match: Match{}, Target: Redirect{1}}), "the target needs -p tcp or -p udp"},
		{"tproxy-outside-mangle", natOf(Rule{Match: Match{Proto: TCP}, Target: TProxy{Port: 1}}), "the target is not allowed in the table"},
		{"mark-outside-mangle", natOf(Rule{Match: Match{}, Target: SetMark{}}), "the target is not allowed in the table"},
		{"zone-outside-raw", natOf(Rule{Match: Match{}, Target: Zone{ID: 1}}), "the target is not allowed in the table"},
		{"source-of-other-family", natOf(Rule{Match: Match{Src: Is(prefix("::1/128"))}, Target: Return}), "the address is not of the family ipv4"},
		{
			"destination-of-other-family",
			Ruleset{Family: inet.IPv6, Tables: natOf(Rule{Match: Match{Dst: Is(prefix("127.0.0.1/32"))}, Target: Return}).Tables},
			"the address is not of the family ipv6",
		},
		{"no-address", natOf(Rule{Match: Match{Src: Is(netip.Prefix{})}, Target: Return}), "the address is not of the family ipv4"},
		{"no-source-at-all", natOf(Rule{Match: Match{Src: Not(prefix("0.0.0.0/0"))}, Target: Return}), "a negated prefix of 0 bits takes no packet"},
		{"no-destination-at-all", natOf(Rule{Match: Match{Dst: Not(prefix("0.0.0.0/0"))}, Target: Return}), "a negated prefix of 0 bits takes no packet"},
		{"source-port-of-any-protocol", natOf(Rule{Match: Match{SPort: Is(Port(1))}, Target: Return}), "a port needs -p tcp or -p udp"},
		{"destination-port-of-any-protocol", natOf(Rule{Match: Match{DPort: Is(Port(1))}, Target: Return}), "a port needs -p tcp or -p udp"},
		{"multiport-of-any-protocol", natOf(Rule{Match: Match{DPorts: Is([]PortRange{Port(1)})}, Target: Return}), "a port needs -p tcp or -p udp"},
		{"another-protocol", natOf(Rule{Match: Match{Proto: 1}, Target: Return}), "protocol 1 is neither tcp nor udp"},
		{"syn-of-udp", natOf(Rule{Match: Match{Proto: UDP, SYN: Is(true)}, Target: Return}), "--syn needs -p tcp"},
		{"syn-false", natOf(Rule{Match: Match{Proto: TCP, SYN: Is(false)}, Target: Return}), "--syn needs -p tcp"},
		{"multiport-of-none", natOf(Rule{Match: Match{Proto: TCP, DPorts: Is([]PortRange(nil))}, Target: Return}), "multiport holds 1 to 15 ports, a range counts for two"},
		{"sixteen-ports", natOf(Rule{Match: Match{Proto: TCP, DPorts: Is(make([]PortRange, 16))}, Target: Return}), "multiport holds 1 to 15 ports, a range counts for two"},
		{"eight-ranges", natOf(Rule{Match: Match{Proto: TCP, DPorts: Is(ranges(8))}, Target: Return}), "multiport holds 1 to 15 ports, a range counts for two"},
		{"interface-without-a-name", natOf(Rule{Match: Match{Out: Is(Interface(""))}, Target: Return}), `"" is not an interface`},
		{"no-state", natOf(Rule{Match: Match{State: Is(States(0))}, Target: Return}), "--ctstate needs states"},
		{"jump-to-itself", natOf(Rule{Match: Match{}, Target: Jump{"ISTIO_A"}}), "table nat: chain ISTIO_A leads back to itself"},
		{"loop-of-two", chains(NAT, Chain{Name: "ISTIO_A", Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_B"}}}},
			Chain{Name: "ISTIO_B", Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_A"}}}}), "table nat: chain ISTIO_A leads back to itself"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.rs.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
		})
	}
}

func TestValidateReportsAllProblems(t *testing.T) {
	t.Parallel()
	rs := natOf(Rule{Match: Match{}, Target: Redirect{1}}, Rule{Match: Match{}}, Rule{Match: Match{}, Target: Jump{"ISTIO_A"}})
	rs.Tables = append(rs.Tables, Table{Name: "nope"})
	want := `table nat: chain ISTIO_A: rule 1 "-j REDIRECT --to-ports 1": the target needs -p tcp or -p udp
table nat: chain ISTIO_A: rule 2 "": has no target
table nat: chain ISTIO_A leads back to itself
table "nope": no such table`
	if diff := cmp.Diff(want, rs.Validate().Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRulesetPrintsAsSavedFromAnEmptyNamespace(t *testing.T) {
	t.Parallel()
	rs := Ruleset{Tables: []Table{
		{Name: NAT, Chains: []Chain{
			{Name: "ISTIO_B", Rules: []Rule{{Match: Match{Proto: TCP}, Target: Redirect{15001}}}},
			{Name: "ISTIO_A", Rules: []Rule{{Match: Match{Out: Is(Interface("lo"))}, Target: Return}, {Match: Match{}, Target: Jump{"ISTIO_B"}}}},
			{Name: Output, Rules: []Rule{{Match: Match{Proto: TCP}, Target: Jump{"ISTIO_A"}}}},
		}},
		{Name: Mangle, Chains: []Chain{{Name: "ISTIO_M"}}},
	}}
	want := `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_M - [0:0]
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ISTIO_A - [0:0]
:ISTIO_B - [0:0]
-A OUTPUT -p tcp -j ISTIO_A
-A ISTIO_A -o lo -j RETURN
-A ISTIO_A -j ISTIO_B
-A ISTIO_B -p tcp -j REDIRECT --to-ports 15001
COMMIT
`
	if diff := cmp.Diff(want, rs.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if rs.Len() != 4 {
		t.Errorf("rules: want 4, got %d", rs.Len())
	}
}

func TestRulesetPrintsPolicies(t *testing.T) {
	t.Parallel()
	text := "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT DROP [0:0]\n:DROPPED - [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n"
	if diff := cmp.Diff(text, parse(t, text).Ruleset().String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEmptyRulesetPrintsNothing(t *testing.T) {
	t.Parallel()
	if got := (Ruleset{Family: inet.IPv6}).String(); got != "" {
		t.Errorf("want nothing, got %q", got)
	}
}

func TestFamilies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		addr string
		want inet.Family
	}{
		{"ipv4", "127.0.0.1", inet.IPv4},
		{"ipv6", "::1", inet.IPv6},
		{"mapped-is-ipv6", "::ffff:127.0.0.1", inet.IPv6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := netip.MustParseAddr(tt.addr)
			for _, f := range inet.Families {
				if got := f.Has(a); got != (f == tt.want) {
					t.Errorf("%s has %s: want %t, got %t", f, a, f == tt.want, got)
				}
			}
		})
	}
	if inet.IPv4.Has(netip.Addr{}) || inet.IPv6.Has(netip.Addr{}) {
		t.Error("no address is of no family")
	}
}
