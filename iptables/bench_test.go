package iptables

import (
	"fmt"
	"net/netip"
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

func BenchmarkTrace(b *testing.B) {
	benchmark(b, func(b *testing.B, rs Ruleset, p Packet) {
		for b.Loop() {
			if rs.Trace(p).Packet.RedirectedTo != 15001 {
				b.Fatal("want a redirect")
			}
		}
	})
}
