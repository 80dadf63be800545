package iptables

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestMergePrefixes(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, list, want string }{
		{"none", "", ""},
		{"halves", "10.0.0.0/9,10.128.0.0/9", "10.0.0.0/8"},
		{"quarters-in-disorder", "10.192.0.0/10,10.0.0.0/10,10.128.0.0/10,10.64.0.0/10", "10.0.0.0/8"},
		{"neighbours-of-different-parents", "10.64.0.0/10,10.128.0.0/10", "10.64.0.0/10,10.128.0.0/10"},
		{"contained", "10.1.2.3/32,10.0.0.0/8,10.0.0.0/9", "10.0.0.0/8"},
		{"host-bits", "10.1.2.3/16,10.0.9.9/16", "10.0.0.0/15"},
		{"everything", "0.0.0.0/1,128.0.0.0/1", "0.0.0.0/0"},
		{"twice", "::1/128,::1/128", "::1/128"},
		{"ipv6", "2001:db8::/33,2001:db8:8000::/33", "2001:db8::/32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parse := func(text string) (list []netip.Prefix) {
				for _, p := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' }) {
					list = append(list, netip.MustParsePrefix(p))
				}
				return list
			}
			if got, want := MergePrefixes(parse(tt.list)), parse(tt.want); !slices.Equal(got, want) {
				t.Errorf("want %v, got %v", want, got)
			}
		})
	}
}

// TestAllPortsBeginAtOne: iptables prints 0:65535 as no condition, so it would be drift.
func TestAllPortsBeginAtOne(t *testing.T) {
	t.Parallel()
	list := []PortRange{{0, 1024}, {1025, 65535}}
	for i := range uint16(MaxPortRules) {
		list = append(list, Port(i+1))
	}
	if got := LowerPorts(list); len(got) != 1 || got[0].DPort != Is(PortRange{1, 65535}) {
		t.Errorf("got %+v", got)
	}
}
