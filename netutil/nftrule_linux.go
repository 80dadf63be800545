package netutil

import (
	"fmt"
	"iter"
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
	return nftChainsWith(f, table, nftObject.unprintable)
}

// MisprintedChains returns the chains of a table of nf_tables that have rules of nft which
// iptables 1.8.9 prints without one of their conditions: by it, a rule for a set of ports is
// one for all.
func MisprintedChains(f inet.Family, table string) ([]string, error) {
	return nftChainsWith(f, table, nftObject.misprinted)
}

// nftChainsWith returns the chains of a table that have a rule of a kind.
func nftChainsWith(f inet.Family, table string, kind func(rule nftObject) bool) ([]string, error) {
	rules, err := nftDump(unix.NFT_MSG_GETRULE, nftFamilies[f], nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(table)))
	if err != nil {
		return nil, fmt.Errorf("list nf_tables rules: %w", err)
	}
	var chains []string
	for _, r := range rules {
		chain := r.text(unix.NFTA_RULE_CHAIN)
		if r.text(unix.NFTA_RULE_TABLE) == table && !slices.Contains(chains, chain) && kind(r) {
			chains = append(chains, chain)
		}
	}
	return chains, nil
}

// unprintable reports whether a rule has an expression that iptables does not know.
func (o nftObject) unprintable() bool {
	for name := range o.expressions() {
		if !slices.Contains(printableExpressions, name) {
			return true
		}
	}
	return false
}

// misprinted reports whether a rule has a condition that iptables leaves out or prints
// wrongly: of what iptables-nft itself makes, none looks up a set, only ports are compared
// with more than one value, and only ports, flags and types of transport headers are looked
// at (iptables/nft-shared.c of 1.8.9).
func (o nftObject) misprinted() bool {
	const portOffset, flagsOffset = 2, 13 // of the destination port, and of the flags of TCP
	isPort := false                       // what was loaded last
	for name, data := range o.expressions() {
		switch name {
		case "lookup":
			return true
		case "cmp":
			if op := data.number(unix.NFTA_CMP_OP); !isPort && op != unix.NFT_CMP_EQ && op != unix.NFT_CMP_NEQ {
				return true
			}
		case "range":
			if !isPort {
				return true
			}
		case "meta":
			isPort = false
		case "payload":
			transport, at := data.number(unix.NFTA_PAYLOAD_BASE) == unix.NFT_PAYLOAD_TRANSPORT_HEADER, data.number(unix.NFTA_PAYLOAD_OFFSET)
			if transport && at != 0 && at != portOffset && at != flagsOffset {
				return true
			}
			isPort = transport && data.number(unix.NFTA_PAYLOAD_LEN) == 2
		}
	}
	return false
}

// expressions returns the expressions of a rule: their names and their attributes.
func (o nftObject) expressions() iter.Seq2[string, nftObject] {
	return func(yield func(string, nftObject) bool) {
		for _, e := range attributes(o.attr(unix.NFTA_RULE_EXPRESSIONS)) {
			if !yield(cString(attribute(e, unix.NFTA_EXPR_NAME)), nftObject{o.family, attribute(e, unix.NFTA_EXPR_DATA)}) {
				return
			}
		}
	}
}
