package infer_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
	"istio-init/test/size"
)

// redirects returns the foreign redirects of rules of nat, as lines.
func redirects(t *testing.T, rules string) []string {
	t.Helper()
	var save strings.Builder
	save.WriteString("*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n")
	seen := map[string]bool{"PREROUTING": true, "OUTPUT": true}
	for line := range strings.Lines(rules) {
		if words := strings.Fields(line); len(words) > 1 && !seen[words[1]] {
			seen[words[1]] = true
			fmt.Fprintf(&save, ":%s - [0:0]\n", words[1])
		}
	}
	save.WriteString(rules + "COMMIT\n")
	s, err := iptables.ParseSnapshot(inet.IPv4, save.String())
	if err != nil {
		t.Fatal(err)
	}
	text := func(list []infer.Packets) string {
		var texts []string
		for _, p := range list {
			texts = append(texts, strings.TrimSpace(iptables.Rule{Match: p.Match}.Text(inet.IPv4)+" "+strings.Join(p.Unknown, " ")))
		}
		return strings.Join(texts, ", ")
	}
	var lines []string
	for _, r := range infer.Infer(s.Ruleset()).Redirects() {
		lines = append(lines, fmt.Sprintf("%s: %s %s %d by %s {%s} but not {%s}", r.Mesh, r.Hook, r.Proto, r.Port, r.At.Chain, text(r.Only), text(r.Except)))
	}
	return lines
}

func TestForeignRedirects(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, rules string
		want        []string
	}{
		{name: "none", rules: "-A OUTPUT -d 10.0.0.1/32 -p tcp -j DNAT --to-destination 10.0.0.2:80\n"},
		{
			name: "dnat-to-localhost", rules: "-A OUTPUT -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.1:8600\n",
			want: []string{"an unknown program: OUTPUT udp 8600 by OUTPUT {-p udp -m udp --dport 53} but not {}"},
		},
		{name: "of-localhost", rules: "-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT\n-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:46035\n"},
		{name: "not-reached", rules: "-A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-ports 4140\n"},
		{
			name: "returned-before", rules: "-A OUTPUT -p tcp -j A\n-A A -d 10.0.0.0/8 -j RETURN\n-A A -p udp -m udp --dport 5 -j RETURN\n-A A -p tcp -j REDIRECT --to-ports 7\n-A A -d 11.0.0.0/8 -j RETURN\n",
			want: []string{"an unknown program: OUTPUT tcp 7 by A {} but not {-d 10.0.0.0/8}"},
		},
		{
			name: "negated-conditions", rules: "-A OUTPUT ! -d 127.0.0.1/32 ! -o lo -p tcp -m tcp ! --dport 22 -m owner ! --uid-owner 9 -j REDIRECT --to-ports 7\n",
			want: []string{"an unknown program: OUTPUT tcp 7 by OUTPUT {} but not {-p tcp -m tcp --dport 22, -d 127.0.0.1/32, -o lo, -m owner --uid-owner 9}"},
		},
		{
			name: "goto-and-other-conditions", rules: "-A PREROUTING -p tcp -m set --match-set x dst -g A\n-A A -i eth0 -j REDIRECT --to-ports 7 --random\n",
			want: []string{"an unknown program: PREROUTING tcp 0 by A {-p tcp -m set --match-set x dst, -i eth0} but not {}"},
		},
		{
			name: "after-all-tcp", rules: "-A OUTPUT -p tcp -j ACCEPT\n-A OUTPUT -p tcp -j REDIRECT --to-ports 7\n-A OUTPUT -p udp -j REDIRECT --to-ports 8\n-A OUTPUT -j RETURN\n-A OUTPUT -p udp -j REDIRECT --to-ports 9\n",
			want: []string{"an unknown program: OUTPUT udp 8 by OUTPUT {} but not {}"},
		},
		{
			name: "loop-of-chains", rules: "-A OUTPUT -j A\n-A A -j B\n-A B -j A\n-A B -p tcp -j REDIRECT --to-ports 7\n",
			want: []string{"an unknown program: OUTPUT tcp 7 by B {} but not {}"},
		},
		{
			name: "ours", rules: "-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT\n-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001\n-A OUTPUT -j PROXY_INIT_OUTPUT\n-A PROXY_INIT_OUTPUT -p tcp -j REDIRECT --to-ports 4140\n",
			want: []string{"Linkerd: OUTPUT tcp 4140 by PROXY_INIT_OUTPUT {} but not {}"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, redirects(t, tt.rules)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSearchOfRedirectsIsBounded through 14 chains in which each jumps three times to the next.
func TestSearchOfRedirectsIsBounded(t *testing.T) {
	t.Parallel()
	var rules strings.Builder
	rules.WriteString("-A OUTPUT -j C0\n")
	for i := range 14 {
		rules.WriteString(strings.Repeat(fmt.Sprintf("-A C%d -j C%d\n", i, i+1), 3))
	}
	rules.WriteString("-A C14 -p tcp -j REDIRECT --to-ports 7\n")
	want := []string{"an unknown program: OUTPUT tcp 7 by C14 {} but not {}"}
	if diff := cmp.Diff(want, redirects(t, rules.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestForeignRedirectsAreThoseOfPackets: a packet that a random foreign rule redirects is one that
// Redirects has: of all of its conditions, and of none of its exceptions.
func TestForeignRedirectsAreThoseOfPackets(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 28))
	redirected := 0
	for range size.Of(300, 2000, 20000) {
		rs := iptables.Ruleset{Tables: []iptables.Table{{Name: iptables.NAT}}}
		names := []string{iptables.Output, "A", "B", "C"}
		for i, name := range names {
			c := iptables.Chain{Name: name}
			targets := []iptables.Target{iptables.Return, iptables.Accept, iptables.Drop, iptables.Redirect{Port: 7}, iptables.Redirect{Port: 8}}
			for _, next := range names[i+1:] {
				targets = append(targets, iptables.Jump{Chain: next}, iptables.Goto{Chain: next})
			}
			for range rng.IntN(5) {
				c.Rules = append(c.Rules, iptables.Rule{Match: randomMatch(rng), Target: istio.OneOf(rng, targets...)})
			}
			rs.Tables[0].Chains = append(rs.Tables[0].Chains, c)
		}
		found := infer.Infer(rs).Redirects()
		for range 20 {
			p := istio.RandomPacket(rng, inet.IPv4)
			p.Hook, p.State, p.In, p.NATDone = iptables.Output, iptables.New, "", false
			p.Out = istio.OneOf(rng, "lo", "eth0")
			w := rs.Trace(p)
			if w.Packet.RedirectedTo == 0 || w.BrokenOff {
				continue
			}
			redirected++
			last := w.Steps[len(w.Steps)-1]
			at := iptables.Place{Table: last.Table, Chain: last.Chain, Index: last.Index}
			takes := func(m infer.Packets) bool { return m.Matches(p) }
			if !slices.ContainsFunc(found, func(r infer.Redirect) bool {
				return r.At == at && (r.Proto == 0 || r.Proto == p.Proto) && !slices.ContainsFunc(r.Except, takes) &&
					!slices.ContainsFunc(r.Only, func(m infer.Packets) bool { return !m.Matches(p) })
			}) {
				t.Fatalf("packet %+v %+v is redirected by %v, which is not found in\n%s\nfound: %+v", p, p.Owner, at, rs, found)
			}
		}
	}
	if redirected == 0 {
		t.Error("no packet was redirected")
	}
}

// randomMatch returns conditions, negated ones among them, that random packets often meet.
func randomMatch(rng *rand.Rand) (m iptables.Match) {
	m.Proto = istio.OneOf[iptables.Proto](rng, 0, iptables.TCP, iptables.TCP, iptables.UDP)
	if rng.IntN(3) == 0 && m.Proto != 0 {
		m.DPort = iptables.Cond[iptables.PortRange]{Val: istio.OneOf(rng, iptables.Port(80), iptables.PortRange{Lo: 1, Hi: 9000}), Set: true, Neg: rng.IntN(2) == 0}
	}
	if rng.IntN(4) == 0 {
		m.Dst = iptables.Cond[netip.Prefix]{Val: netip.MustParsePrefix(istio.OneOf(rng, "10.0.0.0/8", "1.2.3.4/32")), Set: true, Neg: rng.IntN(2) == 0}
	}
	if rng.IntN(4) == 0 {
		m.Out = iptables.Cond[iptables.Interface]{Val: "lo", Set: true, Neg: rng.IntN(2) == 0}
	}
	if rng.IntN(4) == 0 {
		m.UIDs = []iptables.Cond[iptables.IDRange]{{Val: iptables.IDRange{Lo: 0, Hi: 1000}, Set: true, Neg: rng.IntN(2) == 0}}
	}
	return m
}
