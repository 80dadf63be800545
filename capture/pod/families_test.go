package pod

import (
	"net/netip"
	"slices"
	"testing"

	"istio-init/netutil"
	"istio-init/netutil/inet"
)

func TestFamiliesAreChosenAsIstioChoosesThem(t *testing.T) {
	t.Parallel()
	v4 := netutil.Addr{IP: netip.MustParseAddr("10.0.0.1"), Interface: "eth0"}
	v6 := netutil.Addr{IP: netip.MustParseAddr("2001:db8::1"), Interface: "eth0"}
	tests := []struct {
		name   string
		choice FamilyChoice
		dual   bool
		addrs  []netutil.Addr
		off    bool
		want   int
		caveat FamilyCaveat
	}{
		{name: "ipv4", addrs: []netutil.Addr{v4}, want: 1},
		{name: "both-addresses", addrs: []netutil.Addr{v4, v6}, want: 1, caveat: FamilyCaveat{Uncaptured: []netutil.Addr{v6}}},
		{name: "dual-stack", dual: true, addrs: []netutil.Addr{v4, v6}, want: 2},
		{name: "ipv6-alone", addrs: []netutil.Addr{v6}, want: 2},
		{name: "no-address", want: 1, caveat: FamilyCaveat{NoAddress: true}},
		{name: "no-address-dual-stack", dual: true, want: 2, caveat: FamilyCaveat{NoAddress: true}},
		{name: "no-address-ipv6-off", dual: true, off: true, want: 1, caveat: FamilyCaveat{NoAddress: true}},
		{name: "dual", choice: FamiliesDual, want: 2},
		{name: "ipv4-said", choice: FamiliesIPv4, addrs: []netutil.Addr{v6}, want: 1, caveat: FamilyCaveat{Uncaptured: []netutil.Addr{v6}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			families, caveat := ChooseFamilies(tt.choice, tt.dual, tt.addrs, func() bool { return tt.off })
			if !slices.Equal(families, inet.Families[:tt.want]) {
				t.Errorf("families %v, want %d", families, tt.want)
			}
			if caveat.NoAddress != tt.caveat.NoAddress || !slices.Equal(caveat.Uncaptured, tt.caveat.Uncaptured) {
				t.Errorf("caveat %+v, want %+v", caveat, tt.caveat)
			}
		})
	}
}
