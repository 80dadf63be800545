package report

import (
	"errors"
	"fmt"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
)

func TestExplainNamesOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want string
	}{
		{
			"table-of-nft", fmt.Errorf("ipv6 nft: %w", &xtables.NFTRulesError{Table: "nat", Chains: []string{"KUBEVIRT"}}),
			"ipv6 nft: table nat has rules made by nft, which iptables cannot print, in the chains KUBEVIRT: remove them, or use the other variant (--force-iptables-binary)",
		},
		{
			"foreign-route", fmt.Errorf("policy routing (ipv4): %w", &netutil.ForeignRouteError{Table: 200}),
			"policy routing (ipv4): table 200 has another default route; remove that route, or use another table (--istio-inbound-tproxy-route-table)",
		},
		{
			"module", &xtables.RestoreError{Variant: xtables.Legacy, Err: errors.New("exit status 1"), Needs: []string{"iptable_mangle", "xt_TPROXY"}},
			"restore rules (ipv4, legacy): exit status 1; needs of the kernel: iptable_mangle, xt_TPROXY (xt_TPROXY for -m TPROXY)",
		},
		{"another", errors.New("no space"), "no space"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Explain(tt.err); got.Error() != tt.want || !errors.Is(got, tt.err) {
				t.Errorf("want %s\ngot  %s", tt.want, got)
			}
		})
	}
}
