package capture_test

import (
	"fmt"
	"slices"
	"testing"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
)

// benchmark runs something with a short and a long list.
func benchmark(b *testing.B, run func(b *testing.B, c capture.Config)) {
	b.Helper()
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			run(b, istio.LongConfig(n))
		})
	}
}

func BenchmarkRules(b *testing.B) {
	benchmark(b, func(b *testing.B, c capture.Config) {
		for b.Loop() {
			_ = capture.Rules(c, inet.IPv4)
		}
	})
}

// BenchmarkPreview is all that a dry run makes of a configuration.
func BenchmarkPreview(b *testing.B) {
	benchmark(b, func(b *testing.B, c capture.Config) {
		for b.Loop() {
			_ = capture.Rules(c, inet.IPv4).String()
		}
	})
}

// BenchmarkPlan turns what is there into a configuration: nothing, the same, one
// that differs by a prefix, and to nothing.
func BenchmarkPlan(b *testing.B) {
	for _, name := range []string{"fresh", "same", "changed", "clean"} {
		b.Run(name, func(b *testing.B) {
			benchmark(b, func(b *testing.B, c capture.Config) {
				rs, have := capture.Rules(c, inet.IPv4), iptables.Snapshot{}
				if name != "fresh" {
					var err error
					if have, err = iptables.ParseSnapshot(inet.IPv4, rs.String()); err != nil {
						b.Fatal(err)
					}
				}
				switch name {
				case "changed":
					c.OutboundPrefixes.Except = slices.Delete(slices.Clone(c.OutboundPrefixes.Except), 5, 6)
					rs = capture.Rules(c, inet.IPv4)
				case "clean":
					rs = iptables.Ruleset{}
				}
				for b.Loop() {
					if change := iptables.Plan(have, infer.Ownership(have), rs); change.Empty() != (name == "same") {
						b.Fatalf("%s: %+v", name, change.Edits)
					}
				}
			})
		})
	}
}

func BenchmarkParse(b *testing.B) {
	benchmark(b, func(b *testing.B, c capture.Config) {
		text := capture.Rules(c, inet.IPv4).String()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := iptables.ParseSnapshot(inet.IPv4, text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
