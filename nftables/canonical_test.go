package nftables

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// TestOtherEncodingsAreTheSame has the expressions that nft makes, and those that kernels before
// 5.6 dump.
func TestOtherEncodingsAreTheSame(t *testing.T) {
	prefix := iptables.Match{Dst: iptables.Is(netip.MustParsePrefix("10.9.0.0/16"))}
	dst := addressFields[inet.IPv4][1].load
	bits := []byte{255, 255, 0, 0}
	neighbour := iptables.Match{Dst: iptables.Is(netip.MustParsePrefix("10.10.0.0/16"))}
	for name, tt := range map[string]struct {
		match []iptables.Match
		live  []expression // before the verdict
	}{
		"mask-without-operation": {[]iptables.Match{prefix}, []expression{dst, {name: "bitwise", data: bitwise(bits)}, compare(unix.NFT_CMP_EQ, []byte{10, 9, 0, 0})}},
		"prefix-of-whole-bytes":  {[]iptables.Match{prefix}, []expression{payload(unix.NFT_PAYLOAD_NETWORK_HEADER, 16, 2), compare(unix.NFT_CMP_EQ, []byte{10, 9})}},
		"range": {
			[]iptables.Match{{UIDs: []iptables.Cond[iptables.IDRange]{iptables.Is(iptables.IDRange{Lo: 5, Hi: 9})}}},
			[]expression{uidField.load, networkOrder(), compare(unix.NFT_CMP_GTE, network32(5)), compare(unix.NFT_CMP_LTE, network32(9))},
		},
		"ids-as-the-kernel-has-them": {
			[]iptables.Match{{GIDs: []iptables.Cond[iptables.IDRange]{iptables.Not(iptables.ID(1337)), iptables.Not(iptables.ID(256))}}},
			[]expression{gidField.load, lookup(true, &set{kind: kindGID, single: true, intervals: []interval{
				{string(host32(256)), string(host32(256))}, {string(host32(1337)), string(host32(1337))},
			}})},
		},
		"neighbouring-prefixes": {
			[]iptables.Match{prefix, neighbour},
			[]expression{dst, lookup(false, &set{kind: kindIPv4, intervals: []interval{{"\x0a\x09\x00\x00", "\x0a\x0a\xff\xff"}}})},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var rules []iptables.Rule
			for _, m := range tt.match {
				rules = append(rules, iptables.Rule{Match: m, Target: iptables.Return})
			}
			table, err := Compile(iptables.Ruleset{Tables: []iptables.Table{{Name: iptables.NAT, Chains: []iptables.Chain{{Name: iptables.Output, Rules: rules}}}}})
			if err != nil {
				t.Fatal(err)
			}
			want := table.Chains[0].Rules[0]
			live := Rule{exprs: append(slices.Clone(tt.live), want.exprs[len(want.exprs)-1])}
			if live.equal(want) {
				t.Fatal("the encodings are the same")
			}
			if live.exprs = canonical(inet.IPv4, live.exprs); !live.equal(want) {
				t.Errorf("want %+v, got %+v", want.exprs, live.exprs)
			}
		})
	}
}
