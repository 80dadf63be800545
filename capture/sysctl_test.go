package capture_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
)

// TestObstaclesOfModeTPROXY: what is set, and what helps. Package test makes the
// connections.
func TestObstaclesOfModeTPROXY(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		all, own capture.InterfaceSysctls
		accept   int
		want     string
	}{
		{name: "nothing-set", want: "[]"},
		{name: "strict-reverse-path", all: capture.InterfaceSysctls{RPFilter: 1}, want: "[]"},
		{
			name: "of-all", all: capture.InterfaceSysctls{SrcValidMark: 1},
			want: "[{net1.5 [net.ipv4.conf.all.src_valid_mark=1 net.ipv4.conf.net1/5.accept_local=0] [[net.ipv4.conf.net1/5.accept_local=1] [net.ipv4.conf.all.src_valid_mark=0]]}]",
		},
		{name: "accepted", all: capture.InterfaceSysctls{SrcValidMark: 1, RPFilter: 1}, own: capture.InterfaceSysctls{AcceptLocal: 1, RPFilter: 2}, want: "[]"},
		{
			name: "strict", all: capture.InterfaceSysctls{AcceptLocal: 1, RPFilter: 1}, own: capture.InterfaceSysctls{SrcValidMark: 1},
			want: "[{net1.5 [net.ipv4.conf.net1/5.src_valid_mark=1 net.ipv4.conf.all.rp_filter=1] [[net.ipv4.conf.net1/5.rp_filter=2] [net.ipv4.conf.net1/5.src_valid_mark=0]]}]",
		},
		{name: "marked-sockets", accept: 1, want: "[{ [net.ipv4.tcp_fwmark_accept=1] [[net.ipv4.tcp_fwmark_accept=0]]}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.all.Interface, tt.own.Interface = "all", "net1.5"
			s := capture.Sysctls{All: tt.all, Interfaces: []capture.InterfaceSysctls{tt.own}, MarkAccept: tt.accept}
			if diff := cmp.Diff(tt.want, fmt.Sprint(s.Obstacles())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
