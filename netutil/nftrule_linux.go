package netutil

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"istio-init/netutil/inet"
)

// printableExpressions are those that iptables-nft makes and prints (iptables/nft.c of
// 1.8.9, nft_is_expr_compatible). The rules of nft have others.
var printableExpressions = []string{
	"match", "target", "payload", "meta", "cmp", "bitwise", "counter", "immediate", "lookup", "range", "limit", "log",
}

// UnprintableChains returns the chains of a table of nf_tables that have rules which
// iptables cannot print, because nft has made them.
func UnprintableChains(f inet.Family, table string) ([]string, error) {
	rules, err := nftDump(unix.NFT_MSG_GETRULE, nftFamilies[f], nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(table)))
	if err != nil {
		return nil, fmt.Errorf("list nf_tables rules: %w", err)
	}
	var chains []string
	for _, r := range rules {
		chain := r.text(unix.NFTA_RULE_CHAIN)
		if r.text(unix.NFTA_RULE_TABLE) == table && !slices.Contains(chains, chain) && !r.printable() {
			chains = append(chains, chain)
		}
	}
	return chains, nil
}

// printable reports whether iptables can print a rule.
func (o nftObject) printable() bool {
	for _, expression := range attributes(o.attr(unix.NFTA_RULE_EXPRESSIONS)) {
		if !slices.Contains(printableExpressions, cString(attribute(expression, unix.NFTA_EXPR_NAME))) {
			return false
		}
	}
	return true
}
