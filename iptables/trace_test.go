package iptables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

// rulesOf makes a ruleset of lines "TABLE CHAIN RULE". A chain without rules is a
// line "TABLE CHAIN".
func rulesOf(t testing.TB, f inet.Family, lines ...string) Ruleset {
	t.Helper()
	rs := Ruleset{Family: f}
	for _, line := range lines {
		words := strings.SplitN(line, " ", 3)
		if len(rs.Tables) == 0 || rs.Tables[len(rs.Tables)-1].Name != words[0] {
			rs.Tables = append(rs.Tables, Table{Name: words[0]})
		}
		table := &rs.Tables[len(rs.Tables)-1]
		if n := len(table.Chains); n == 0 || table.Chains[n-1].Name != words[1] {
			table.Chains = append(table.Chains, Chain{Name: words[1]})
		}
		if len(words) < 3 {
			continue
		}
		rule, err := ParseRule(f, words[2])
		if err != nil {
			t.Fatal(err)
		}
		chain := &table.Chains[len(table.Chains)-1]
		chain.Rules = append(chain.Rules, rule)
	}
	return rs
}

// way is a walk in words: the rules that took the packet, and the verdict.
func way(w Walk) string {
	var steps []string
	for _, s := range w.Steps {
		steps = append(steps, fmt.Sprintf("%s %s %d", s.Table, s.Chain, s.Index))
	}
	return strings.Join(append(steps, w.Verdict.String()), ", ")
}

var (
	outbound = Packet{
		Hook: Output, Out: "eth0", Proto: TCP, State: New, SYN: true, Owner: &Owner{UID: 1000, GID: 1000},
		Src: netip.MustParseAddrPort("10.0.0.5:40000"), Dst: netip.MustParseAddrPort("203.0.113.1:80"),
	}
	inbound = Packet{
		Hook: Prerouting, In: "eth0", Proto: TCP, State: New, SYN: true,
		Src: netip.MustParseAddrPort("10.0.0.9:40000"), Dst: netip.MustParseAddrPort("10.0.0.5:8080"),
	}
)

var traceTests = []struct {
	name   string
	rules  []string
	packet func(*Packet) // changes outbound
	want   string
}{
	{"no-rules", nil, nil, "ACCEPT"},
	{
		"first-match-wins",
		[]string{"nat OUTPUT -j ISTIO_A", "nat ISTIO_A -p udp -j RETURN", "nat ISTIO_A -p tcp -j ACCEPT", "nat ISTIO_A -j ACCEPT"},
		nil,
		"nat OUTPUT 0, nat ISTIO_A 1, ACCEPT",
	},
	{"other-hook-is-not-walked", []string{"nat PREROUTING -j ISTIO_A", "nat ISTIO_A -j ACCEPT"}, nil, "ACCEPT"},
	{
		"return-goes-on-after-the-jump",
		[]string{"nat OUTPUT -j ISTIO_A", "nat OUTPUT -j ISTIO_B", "nat ISTIO_A -j RETURN", "nat ISTIO_A -j ACCEPT", "nat ISTIO_B -j ACCEPT"},
		nil,
		"nat OUTPUT 0, nat ISTIO_A 0, nat OUTPUT 1, nat ISTIO_B 0, ACCEPT",
	},
	{
		"end-of-a-chain-goes-on-after-the-jump",
		[]string{"nat OUTPUT -j ISTIO_A", "nat OUTPUT -j ISTIO_B", "nat ISTIO_A", "nat ISTIO_B -j ACCEPT"},
		nil,
		"nat OUTPUT 0, nat OUTPUT 1, nat ISTIO_B 0, ACCEPT",
	},
	{
		"nested-jumps",
		[]string{"nat OUTPUT -j ISTIO_A", "nat OUTPUT -j ISTIO_C", "nat ISTIO_A -j ISTIO_B", "nat ISTIO_A -j RETURN", "nat ISTIO_B -j RETURN", "nat ISTIO_C -j ACCEPT"},
		nil,
		"nat OUTPUT 0, nat ISTIO_A 0, nat ISTIO_B 0, nat ISTIO_A 1, nat OUTPUT 1, nat ISTIO_C 0, ACCEPT",
	},
	{
		"accept-deep-down-ends-the-table",
		[]string{"mangle OUTPUT -j ISTIO_A", "mangle OUTPUT -j ISTIO_B", "mangle ISTIO_A -j ISTIO_B", "mangle ISTIO_B -j ACCEPT"},
		nil,
		"mangle OUTPUT 0, mangle ISTIO_A 0, mangle ISTIO_B 0, ACCEPT",
	},
	{
		"accept-does-not-end-the-hook",
		[]string{"mangle OUTPUT -j ISTIO_A", "mangle ISTIO_A -j ACCEPT", "nat OUTPUT -j ISTIO_B", "nat ISTIO_B -j RETURN"},
		nil,
		"mangle OUTPUT 0, mangle ISTIO_A 0, nat OUTPUT 0, nat ISTIO_B 0, ACCEPT",
	},
	{
		"drop-ends-the-hook",
		[]string{"mangle OUTPUT -j ISTIO_A", "mangle ISTIO_A -j DROP", "nat OUTPUT -j ISTIO_B", "nat ISTIO_B -j RETURN"},
		nil,
		"mangle OUTPUT 0, mangle ISTIO_A 0, DROP",
	},
	{
		"tables-in-the-order-of-the-kernel",
		[]string{"filter OUTPUT -j ISTIO_A", "filter ISTIO_A", "nat OUTPUT -j ISTIO_A", "nat ISTIO_A", "mangle OUTPUT -j ISTIO_A", "mangle ISTIO_A", "raw OUTPUT -j ISTIO_A", "raw ISTIO_A"},
		nil,
		"raw OUTPUT 0, mangle OUTPUT 0, nat OUTPUT 0, filter OUTPUT 0, ACCEPT",
	},
	{
		"a-zone-makes-a-packet-new-to-raw",
		[]string{"raw OUTPUT -m conntrack --ctstate NEW -j DROP", "raw OUTPUT -j CT --zone 1", "raw OUTPUT -m conntrack --ctstate INVALID -j ACCEPT", "raw OUTPUT -m conntrack --ctstate NEW -j DROP"},
		nil,
		"raw OUTPUT 1, raw OUTPUT 3, DROP",
	},
	{"nat-is-for-new-connections", []string{"nat OUTPUT -j ISTIO_A", "nat ISTIO_A -j ACCEPT"}, func(p *Packet) { p.State = Established }, "ACCEPT"},
	{
		"other-tables-are-for-all",
		[]string{"mangle OUTPUT -j ISTIO_A", "mangle ISTIO_A -j ACCEPT"},
		func(p *Packet) { p.State = Established },
		"mangle OUTPUT 0, mangle ISTIO_A 0, ACCEPT",
	},
	// Measured: the packet is routed anew behind the hook, and within it the
	// interface stays (net/netfilter/nf_nat_proto.c, nf_nat_ipv4_local_fn).
	{
		"redirect-is-routed-behind-the-hook",
		[]string{"nat OUTPUT -j ISTIO_A", "nat ISTIO_A -p tcp -j REDIRECT --to-ports 15001", "filter OUTPUT -o lo -j ISTIO_B", "filter OUTPUT -o eth0 -j ISTIO_B", "filter ISTIO_B"},
		nil,
		"nat OUTPUT 0, nat ISTIO_A 0, filter OUTPUT 1, ACCEPT",
	},
	{
		"mark-does-not-end-the-chain",
		[]string{"mangle OUTPUT -j ISTIO_A", "mangle ISTIO_A -j MARK --set-xmark 0x539/0xffffffff", "mangle ISTIO_A -m mark --mark 0x539 -j RETURN"},
		nil,
		"mangle OUTPUT 0, mangle ISTIO_A 0, mangle ISTIO_A 1, ACCEPT",
	},
	{
		"mark-is-seen-by-the-next-table",
		[]string{"mangle OUTPUT -j ISTIO_A", "mangle ISTIO_A -j MARK --set-xmark 0x539/0xffffffff", "nat OUTPUT -m mark --mark 0x539 -j ISTIO_A", "nat ISTIO_A"},
		nil,
		"mangle OUTPUT 0, mangle ISTIO_A 0, nat OUTPUT 0, ACCEPT",
	},
}

func TestTraceFollowsTheRules(t *testing.T) {
	t.Parallel()
	for _, tt := range traceTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := outbound
			if tt.packet != nil {
				tt.packet(&p)
			}
			if diff := cmp.Diff(tt.want, way(rulesOf(t, inet.IPv4, tt.rules...).Trace(p))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTraceChangesThePacket compares the packet that leaves the hook.
func TestTraceChangesThePacket(t *testing.T) {
	t.Parallel()
	six := outbound
	six.Src, six.Dst = netip.MustParseAddrPort("[2001:db8::5]:40000"), netip.MustParseAddrPort("[2001:db8::1]:80")
	marked := outbound
	marked.Mark, marked.ConnMark = 0xf0f0, 0x1234
	tests := []struct {
		name   string
		packet Packet
		table  string
		rules  []string // of the chain that the hook jumps to
		want   func(*Packet)
	}{
		{"redirect-of-what-begins-here-goes-to-loopback", outbound, NAT, []string{"-p tcp -j REDIRECT --to-ports 15001", "-j ACCEPT"}, func(p *Packet) {
			p.RedirectedTo, p.Out, p.Dst, p.NAT = 15001, "lo", netip.MustParseAddrPort("127.0.0.1:15001"), DNAT
		}},
		{"redirect-ipv6", six, NAT, []string{"-p tcp -j REDIRECT --to-ports 15001"}, func(p *Packet) {
			p.RedirectedTo, p.Out, p.Dst, p.NAT = 15001, "lo", netip.MustParseAddrPort("[::1]:15001"), DNAT
		}},
		{"redirect-of-what-comes-in-keeps-the-address", inbound, NAT, []string{"-p tcp -j REDIRECT --to-ports 15006"}, func(p *Packet) {
			p.RedirectedTo, p.Dst, p.NAT = 15006, netip.MustParseAddrPort("10.0.0.5:15006"), DNAT
		}},
		{"tproxy-keeps-the-destination", inbound, Mangle, []string{"-p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff"}, func(p *Packet) {
			p.TProxiedTo, p.Mark = 15006, 0x539
		}},
		{"mark-of-all-bits", marked, Mangle, []string{"-j MARK --set-xmark 0x539/0xffffffff"}, func(p *Packet) { p.Mark = 0x539 }},
		{"mark-of-some-bits", marked, Mangle, []string{"-j MARK --set-xmark 0x5/0xff"}, func(p *Packet) { p.Mark = 0xf005 }},
		{"mark-flips-bits-outside-the-mask", marked, Mangle, []string{"-j MARK --set-xmark 0xf/0x0"}, func(p *Packet) { p.Mark = 0xf0ff }},
		{"save-mark", marked, Mangle, []string{"-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"}, func(p *Packet) { p.ConnMark = 0xf0f0 }},
		{"restore-mark", marked, Mangle, []string{"-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff"}, func(p *Packet) { p.Mark = 0x1234 }},
		{"zone", outbound, Raw, []string{"-j CT --zone 2"}, func(p *Packet) { p.Zone = 2 }},
		{"zone-that-is-set-stays", outbound, Raw, []string{"-j CT --zone 2", "-j CT --zone 1"}, func(p *Packet) { p.Zone = 2 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lines := []string{tt.table + " " + tt.packet.Hook + " -j ISTIO_A"}
			for _, r := range tt.rules {
				lines = append(lines, tt.table+" ISTIO_A "+r)
			}
			want, got := tt.packet, rulesOf(t, inet.Of(tt.packet.Dst.Addr()), lines...).Trace(tt.packet)
			tt.want(&want)
			if diff := cmp.Diff(want, got.Packet, compareAddrs); diff != "" {
				t.Errorf("by %s (-want +got):\n%s", way(got), diff)
			}
		})
	}
}

// TestOwnerOfAPacket is the truth table of xt_owner: a packet without a socket
// has no owner, so it is nobody's and meets what is negated.
func TestOwnerOfAPacket(t *testing.T) {
	t.Parallel()
	proxy, app := &Owner{UID: 1337, GID: 1337}, &Owner{UID: 1000, GID: 1337}
	tests := []struct {
		name, match      string
		proxy, app, none bool
	}{
		{"uid", "-m owner --uid-owner 1337", true, false, false},
		{"not-uid", "-m owner ! --uid-owner 1337", false, true, true},
		{"uid-range", "-m owner --uid-owner 0-4294967294", true, true, false},
		{"gid", "-m owner --gid-owner 1337", true, true, false},
		{"not-gid", "-m owner ! --gid-owner 1337", false, false, true},
		{"both-have-to-hold", "-m owner --uid-owner 1337 -m owner --gid-owner 1337", true, false, false},
		{"in-none-of-two", "-m owner ! --gid-owner 1 -m owner ! --gid-owner 2", true, true, true},
		{"in-none-of-two-but-one", "-m owner ! --gid-owner 1 -m owner ! --gid-owner 1337", false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rule, err := ParseRule(inet.IPv4, tt.match+" -j RETURN")
			if err != nil {
				t.Fatal(err)
			}
			for who, want := range map[*Owner]bool{proxy: tt.proxy, app: tt.app, nil: tt.none} {
				p := outbound
				p.Owner = who
				if got := rule.Matches(p); got != want {
					t.Errorf("%s, owner %+v: want %t, got %t", tt.match, who, want, got)
				}
			}
		})
	}
}
