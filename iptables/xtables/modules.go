package xtables

import (
	"slices"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// modules are the parts of the kernel that a piece of a script needs, by the
// names of their modules (net/netfilter/Makefile, net/ipv4/netfilter/Makefile).
var modules = []struct{ piece, module string }{
	{"-m owner ", "xt_owner"},
	{"-j REDIRECT ", "xt_REDIRECT"},
	{"-m tcp ", "xt_tcpudp"},
	{"-m udp ", "xt_tcpudp"},
	{"-m multiport ", "xt_multiport"},
	{"-m conntrack ", "xt_conntrack"},
	{"-m mark ", "xt_mark"},
	{"-j MARK ", "xt_mark"},
	{"-m connmark ", "xt_connmark"},
	{"-j CONNMARK ", "xt_connmark"},
	{"-j TPROXY ", "xt_TPROXY"},
	{"-j CT ", "xt_CT"},
}

// needs returns the modules that a refused line may have missed. A line that
// stands for its table, the first or the last, needs the table and all that is in
// it.
func needs(f inet.Family, v Variant, script string, line int) []string {
	lines := strings.Split(script, "\n")
	if line < 1 || line > len(lines) {
		return nil
	}
	first, last := line-1, line-1
	if text := lines[line-1]; text == "COMMIT" || strings.HasPrefix(text, "*") {
		for first > 0 && !strings.HasPrefix(lines[first], "*") {
			first--
		}
		for last < len(lines)-1 && lines[last] != "COMMIT" {
			last++
		}
	}
	var names []string
	for _, text := range lines[first : last+1] {
		if table, ok := strings.CutPrefix(text, "*"); ok {
			names = append(names, tableModule(f, v, table))
		}
		for _, m := range modules {
			if strings.Contains(text+" ", m.piece) {
				names = append(names, m.module)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// tableModule returns the module of a table.
func tableModule(f inet.Family, v Variant, table string) string {
	switch {
	case v == NFT && table == iptables.NAT:
		return "nft_chain_nat"
	case v == NFT:
		return "nft_compat"
	case f == inet.IPv6:
		return "ip6table_" + table
	}
	return "iptable_" + table
}
