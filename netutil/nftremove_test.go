package netutil_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

func TestRemoveEmptyNFTTables(t *testing.T) {
	kernel.Need(t, "nft")
	kernel.NeedVariant(t, xtables.NFT)
	const base = "add chain ip %s OUTPUT { type filter hook output priority 0; policy accept; }\n"
	tests := []struct {
		name, script string
		removed      bool
	}{
		{"empty-chains", "add table ip x\n" + strings.ReplaceAll(base, "%s", "x"), true},
		{"no-chains", "add table ip x\n", true},
		{"a-rule", "add table ip x\n" + strings.ReplaceAll(base, "%s", "x") + "add rule ip x OUTPUT counter\n", false},
		{"a-chain", "add table ip x\nadd chain ip x mine\n", false},
		{"a-set", "add table ip x\nadd set ip x s { type ipv4_addr; }\n", false},
		{"a-policy", "add table ip x\nadd chain ip x OUTPUT { type filter hook output priority 0; policy drop; }\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := kernel.NewNetNS(t)
			ns.Run(t, tt.script, "nft", "-f", "-")
			before := ns.Run(t, "", "nft", "list", "ruleset")
			in(t, ns, func() error {
				n, err := netutil.RemoveEmptyNFTTables([2][]string{{"x", "not there"}, {"x"}})
				if removed := n > 0; removed != tt.removed {
					t.Errorf("want removed %t, got %d tables", tt.removed, n)
				}
				return err
			})
			if after := ns.Run(t, "", "nft", "list", "ruleset"); tt.removed != (after == "") || !tt.removed && after != before {
				t.Errorf("got %s", after)
			}
		})
	}
}

// TestRemoveNFTTablesRefusesAnotherGeneration removes what iptables-nft made for both
// families, after something happened in between.
func TestRemoveNFTTablesRefusesAnotherGeneration(t *testing.T) {
	kernel.Need(t, "nft")
	kernel.NeedVariant(t, xtables.NFT)
	const rules = "*nat\n:ISTIO_A - [0:0]\n:ISTIO_B - [0:0]\n-A OUTPUT -j ISTIO_A\n-A ISTIO_A -p tcp -j ISTIO_B\n-A ISTIO_B -p tcp -j RETURN\nCOMMIT\n"
	seen := []netutil.NFTTable{{Name: "nat", Chains: []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "ISTIO_A", "ISTIO_B"}}}
	tests := []struct {
		name, then string // by nft
		chains     int    // that are known, of those above
		want       error
	}{
		{"nothing", "", 6, nil},
		{"a-rule", "add rule ip nat OUTPUT counter\n", 6, unix.ERESTART},
		{"a-rule-elsewhere", "add table inet other\n", 6, unix.ERESTART},
		{"a-chain-that-was-not-seen", "", 5, unix.EBUSY},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := kernel.NewNetNS(t)
			for _, f := range inet.Families {
				if err := ns.Restore(t, xtables.NFT, f, rules); err != nil {
					t.Fatal(err)
				}
			}
			var look netutil.Netfilter
			in(t, ns, func() error { look = netutil.LookAtNetfilter("", ""); return nil })
			if tt.then != "" {
				ns.Run(t, tt.then, "nft", "-f", "-")
			}
			before := ns.Run(t, "", "nft", "list", "ruleset")
			known := []netutil.NFTTable{{Name: "nat", Chains: seen[0].Chains[:tt.chains]}}
			in(t, ns, func() error {
				if err := netutil.RemoveNFTTables([2][]netutil.NFTTable{known, known}, look.Generation); !errors.Is(err, tt.want) {
					t.Errorf("want %v, got %v", tt.want, err)
				}
				return nil
			})
			if after := ns.Run(t, "", "nft", "list", "ruleset"); (tt.want == nil) != (after == "") || tt.want != nil && after != before {
				t.Errorf("want %s, got %s", before, after)
			}
		})
	}
}
