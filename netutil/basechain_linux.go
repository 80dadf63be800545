package netutil

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A BaseChain is a chain of nf_tables that packets enter at a hook. Hooks and families are
// named as nft(8) does.
type BaseChain struct {
	Family   string // ip, ip6, inet, arp, bridge or netdev
	Table    string
	Name     string
	Type     string // filter, nat or route
	Hook     string
	Priority int
	Drops    bool // its policy is drop
	HasRules bool
	// Devices are the interfaces whose packets enter a chain at ingress or egress, or of the
	// family bridge: those of the hook, bridges, and what is stacked on them.
	Devices []string
}

var nftFamilyNames = map[uint8]string{
	unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_INET: "inet",
	unix.NFPROTO_ARP: "arp", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_NETDEV: "netdev",
}

// nftHooks are the hooks of nf_tables by their numbers (linux/netfilter.h). Those of arp
// and netdev have numbers of their own (netfilter_arp.h, netfilter_netdev.h).
var (
	nftHooks    = []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	arpHooks    = []string{"input", "output", "forward"}
	netdevHooks = []string{"ingress", "egress"}
)

// Constants that golang.org/x/sys does not have.
const (
	nfDrop       = 0 // linux/netfilter.h, NF_DROP
	nftaHookDevs = 4 // linux/netfilter/nf_tables.h, NFTA_HOOK_DEVS
)

// foreignBaseChains lists the base chains that are not built-in ones of iptables-nft and
// may decide about packets: those with rules or with policy drop. The tables are a dump's;
// in those of the family inet whose names start with native, chains are not listed.
func foreignBaseChains(tables []nftObject, native string) ([]BaseChain, error) {
	found, err := nftDump(unix.NFT_MSG_GETCHAIN, unix.NFPROTO_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list nf_tables chains: %w", err)
	}
	var chains []BaseChain
	for _, o := range found {
		if o.attr(unix.NFTA_CHAIN_HOOK) == nil {
			continue
		}
		c := o.baseChain()
		isTable := func(t nftObject) bool {
			return t.family == o.family && t.text(unix.NFTA_TABLE_NAME) == c.Table && t.number(unix.NFTA_TABLE_FLAGS)&unix.NFT_TABLE_F_DORMANT == 0
		}
		isNative := c.Family == "inet" && strings.HasPrefix(c.Table, native)
		if (c.HasRules || c.Drops) && !c.ofIptables() && !isNative && slices.ContainsFunc(tables, isTable) { // a dormant table has no hooks
			chains = append(chains, c)
		}
	}
	return chains, stack(chains)
}

// stack adds to the interfaces of chains those that get their packets: bridges, bonds and
// VLANs.
func stack(chains []BaseChain) error {
	if !slices.ContainsFunc(chains, func(c BaseChain) bool { return c.Family == "bridge" || len(c.Devices) > 0 }) {
		return nil
	}
	links, err := complete(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for i := range chains {
		c := &chains[i]
		for _, l := range links {
			if c.Family == "bridge" && l.Type() == "bridge" {
				c.Devices = append(c.Devices, l.Attrs().Name)
			}
		}
		for n := 0; n < len(c.Devices); n++ { // also what is stacked on those that are added
			for _, l := range links {
				upper := ""
				switch attrs := l.Attrs(); {
				case attrs.Name == c.Devices[n]:
					upper = names[attrs.MasterIndex]
				case names[attrs.ParentIndex] == c.Devices[n] && l.Type() != "veth": // of which it is the peer
					upper = attrs.Name
				}
				if upper != "" && !slices.Contains(c.Devices, upper) {
					c.Devices = append(c.Devices, upper)
				}
			}
		}
	}
	return nil
}

// baseChain reads a chain that has a hook.
func (o nftObject) baseChain() BaseChain {
	hook := nftObject{o.family, o.attr(unix.NFTA_CHAIN_HOOK)}
	c := BaseChain{
		Family: nftFamilyNames[o.family], Table: o.text(unix.NFTA_CHAIN_TABLE), Name: o.text(unix.NFTA_CHAIN_NAME), Type: o.text(unix.NFTA_CHAIN_TYPE),
		Hook: hook.name(), Priority: int(int32(hook.number(unix.NFTA_HOOK_PRIORITY))), Devices: hook.devices(),
		Drops: o.attr(unix.NFTA_CHAIN_POLICY) != nil && o.number(unix.NFTA_CHAIN_POLICY) == nfDrop,
		// It counts what uses the chain: of a base chain its rules alone, since nothing may
		// jump to one (net/netfilter/nf_tables_api.c, nf_tables_newrule and nft_verdict_init).
		HasRules: o.number(unix.NFTA_CHAIN_USE) > 0,
	}
	return c
}

// NFTHook returns the name of a hook of the families ip and ip6.
func NFTHook(number uint32) string {
	if int(number) < len(nftHooks) {
		return nftHooks[number]
	}
	return fmt.Sprint(number)
}

// name returns the name of a hook, or its number where it is not known.
func (o nftObject) name() string {
	names, number := nftHooks, o.number(unix.NFTA_HOOK_HOOKNUM)
	switch o.family {
	case unix.NFPROTO_ARP:
		names = arpHooks
	case unix.NFPROTO_NETDEV:
		names = netdevHooks
	}
	if int(number) < len(names) {
		return names[number]
	}
	return fmt.Sprint(number)
}

// devices returns the interfaces of a hook.
func (o nftObject) devices() []string {
	if one := o.attr(unix.NFTA_HOOK_DEV); one != nil {
		return []string{cString(one)}
	}
	var names []string
	for _, value := range attributes(o.attr(nftaHookDevs)) {
		names = append(names, cString(value))
	}
	return names
}

// number returns an attribute of 32 bits, which nf_tables has in network byte order; 0 when
// it is not there.
func (o nftObject) number(kind int) uint32 {
	if value := o.attr(kind); len(value) == 4 {
		return binary.BigEndian.Uint32(value)
	}
	return 0
}

// xtablesPriorities are those of the built-in chains of iptables-nft (iptables/nft.c,
// xtables_ipv4), where nat has another one for changes of the source.
var xtablesPriorities = map[string][]int{"raw": {-300}, "mangle": {-150}, "nat": {-100, 100}, "filter": {0}, "security": {50, 150}}

// ofIptables reports whether iptables-nft takes a base chain for a built-in one. All others
// it neither prints nor changes (iptables/nft-cache.c, nft_cache_add_chain).
func (c BaseChain) ofIptables() bool {
	kind := "filter"
	switch {
	case c.Table == "nat":
		kind = "nat"
	case c.Table == "mangle" && c.Hook == "output":
		kind = "route"
	}
	return (c.Family == "ip" || c.Family == "ip6") && c.Name == strings.ToUpper(c.Hook) && c.Type == kind &&
		slices.Contains(xtablesPriorities[c.Table], c.Priority)
}
