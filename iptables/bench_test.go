package iptables

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"istio-init/netutil/inet"
)

// manyRules is a ruleset of n rules that captures n-2 prefixes, and a packet that
// only the last of them takes.
func manyRules(n int) (Ruleset, Packet) {
	var rules []Rule
	var last netip.Addr
	for i := range n - 2 {
		last = netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		rules = append(rules, Rule{Match: Match{Dst: Is(netip.PrefixFrom(last, 24))}, Target: Jump{"ISTIO_REDIRECT"}})
	}
	p := outbound
	p.Dst = netip.AddrPortFrom(last, 80)
	return Ruleset{Tables: []Table{{Name: NAT, Chains: []Chain{
		{Name: Output, Rules: []Rule{{Match: Match{}, Target: Jump{"ISTIO_OUTPUT"}}}},
		{Name: "ISTIO_OUTPUT", Rules: rules},
		{Name: "ISTIO_REDIRECT", Rules: []Rule{{Match: Match{Proto: TCP}, Target: Redirect{15001}}}},
	}}}}, p
}

func benchmark(b *testing.B, run func(b *testing.B, rs Ruleset, p Packet)) {
	b.Helper()
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			rs, p := manyRules(n)
			b.ReportAllocs()
			run(b, rs, p)
		})
	}
}

func BenchmarkString(b *testing.B) {
	benchmark(b, func(b *testing.B, rs Ruleset, _ Packet) {
		for b.Loop() {
			_ = rs.String()
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	benchmark(b, func(b *testing.B, rs Ruleset, _ Packet) {
		for b.Loop() {
			if err := rs.Validate(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPlanFresh is the first run in a namespace.
func BenchmarkPlanFresh(b *testing.B) {
	benchmark(b, func(b *testing.B, rs Ruleset, _ Packet) {
		for b.Loop() {
			_ = PlanISTIO(Snapshot{}, rs)
		}
	})
}

// BenchmarkPlanNothing is every run after the first.
func BenchmarkPlanNothing(b *testing.B) {
	benchmark(b, func(b *testing.B, rs Ruleset, _ Packet) {
		have := parse(b, rs.String())
		for b.Loop() {
			if !PlanISTIO(have, rs).Empty() {
				b.Fatal("want nothing to do")
			}
		}
	})
}

func BenchmarkParseSnapshot(b *testing.B) {
	benchmark(b, func(b *testing.B, rs Ruleset, _ Packet) {
		text := rs.String()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := ParseSnapshot(inet.IPv4, text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// nodeDump is what a node of kube-proxy prints with so many chains.
func nodeDump(chains int) string {
	var declared, rules strings.Builder
	for i := range chains / 2 {
		fmt.Fprintf(&declared, ":KUBE-SVC-%d - [0:0]\n:KUBE-SEP-%d - [0:0]\n", i, i)
		fmt.Fprintf(&rules, "-A KUBE-SERVICES -d 10.96.%d.%d/32 -p tcp -m comment --comment \"ns/svc-%d:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-%d\n", i>>8, i&255, i, i)
		fmt.Fprintf(&rules, "-A KUBE-SVC-%d -m comment --comment \"ns/svc-%d -> 10.244.0.2:80\" -j KUBE-SEP-%d\n", i, i, i)
		fmt.Fprintf(&rules, "-A KUBE-SEP-%d -p tcp -m comment --comment \"ns/svc-%d\" -m tcp -j DNAT --to-destination 10.244.0.2:80\n", i, i)
	}
	return "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n" + declared.String() + "-A OUTPUT -j KUBE-SERVICES\n" + rules.String() + "COMMIT\n"
}

// BenchmarkParseDump reads dumps of two sizes: the time for a chain is the same.
func BenchmarkParseDump(b *testing.B) {
	for _, chains := range []int{1000, 16000} {
		text := nodeDump(chains)
		b.Run(fmt.Sprintf("chains=%d", chains), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := ParseDump(text); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*chains), "ns/chain")
		})
	}
}

func BenchmarkTrace(b *testing.B) {
	benchmark(b, func(b *testing.B, rs Ruleset, p Packet) {
		for b.Loop() {
			if rs.Trace(p).Packet.RedirectedTo != 15001 {
				b.Fatal("want a redirect")
			}
		}
	})
}
