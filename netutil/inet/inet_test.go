package inet_test

import (
	"net/netip"
	"testing"

	"istio-init/netutil/inet"
)

func TestFamilyOfAddresses(t *testing.T) {
	tests := []struct {
		addr string
		want inet.Family
	}{
		{"0.0.0.0", inet.IPv4},
		{"10.0.0.1", inet.IPv4},
		{"::", inet.IPv6},
		{"2001:db8::1", inet.IPv6},
		{"::ffff:10.0.0.1", inet.IPv6},
	}
	for _, tt := range tests {
		a := netip.MustParseAddr(tt.addr)
		if got := inet.Of(a); got != tt.want {
			t.Errorf("%s: want %s, got %s", tt.addr, tt.want, got)
		}
		for _, f := range inet.Families {
			if got, want := f.Has(a), f == tt.want; got != want {
				t.Errorf("%s.Has(%s): want %t, got %t", f, tt.addr, want, got)
			}
		}
	}
}

func TestFamilyOfZeroAddress(t *testing.T) {
	if got := inet.Of(netip.Addr{}); got != inet.IPv4 {
		t.Errorf("want ipv4, got %s", got)
	}
	for _, f := range inet.Families {
		if f.Has(netip.Addr{}) {
			t.Errorf("%s has the zero address", f)
		}
	}
}

func TestAddressesOfFamilies(t *testing.T) {
	tests := []struct {
		f                         inet.Family
		name, any, all, localhost string
		bits                      int
	}{
		{inet.IPv4, "ipv4", "0.0.0.0", "0.0.0.0/0", "127.0.0.1", 32},
		{inet.IPv6, "ipv6", "::", "::/0", "::1", 128},
	}
	for _, tt := range tests {
		if got := tt.f.String(); got != tt.name {
			t.Errorf("want %s, got %s", tt.name, got)
		}
		if got := tt.f.Any().String(); got != tt.any {
			t.Errorf("%s: want the unspecified address %s, got %s", tt.name, tt.any, got)
		}
		if got := tt.f.All().String(); got != tt.all {
			t.Errorf("%s: want the prefix of all %s, got %s", tt.name, tt.all, got)
		}
		if got := tt.f.Localhost().String(); got != tt.localhost {
			t.Errorf("%s: want localhost %s, got %s", tt.name, tt.localhost, got)
		}
		if got := tt.f.Bits(); got != tt.bits {
			t.Errorf("%s: want %d bits, got %d", tt.name, tt.bits, got)
		}
	}
}
