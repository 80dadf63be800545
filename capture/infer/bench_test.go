package infer_test

import (
	"fmt"
	"testing"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
)

func BenchmarkInfer(b *testing.B) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			rs := capture.Rules(istio.LongConfig(n), inet.IPv4)
			for b.Loop() {
				_ = infer.Infer(rs)
			}
		})
	}
}
