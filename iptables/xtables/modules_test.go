package xtables

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

func TestRestoreErrorNamesModules(t *testing.T) {
	t.Parallel()
	const script = `*mangle
:ISTIO_A - [0:0]
-A ISTIO_A -j MARK --set-xmark 0x1/0xffffffff
COMMIT
*nat
-A ISTIO_B -p tcp -m tcp --dport 80 -m owner --uid-owner 1337 -j REDIRECT --to-ports 15001
-A ISTIO_B -m owner --uid-owner 1337 -j RETURN
COMMIT
`
	tests := []struct {
		name    string
		family  inet.Family
		variant Variant
		line    int
		want    []string
	}{
		{"rule", inet.IPv4, NFT, 6, []string{"xt_REDIRECT", "xt_owner", "xt_tcpudp"}},
		{"rule-of-another-table", inet.IPv4, NFT, 3, []string{"xt_mark"}},
		{"chain-needs-nothing", inet.IPv4, NFT, 2, nil},
		{"table-needs-all-that-is-in-it", inet.IPv4, NFT, 5, []string{"nft_chain_nat", "xt_REDIRECT", "xt_owner", "xt_tcpudp"}},
		{"commit-stands-for-its-table", inet.IPv4, Legacy, 8, []string{"iptable_nat", "xt_REDIRECT", "xt_owner", "xt_tcpudp"}},
		{"first-commit", inet.IPv6, Legacy, 4, []string{"ip6table_mangle", "xt_mark"}},
		{"nft-table-that-is-not-nat", inet.IPv6, NFT, 1, []string{"nft_compat", "xt_mark"}},
		{"no-line", inet.IPv4, NFT, 0, nil},
		{"behind-the-last", inet.IPv4, NFT, 99, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, needs(tt.family, tt.variant, script, tt.line)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
