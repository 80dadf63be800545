package picture

import (
	"cmp"
	"slices"

	"istio-init/iptables"
)

// A hook is where the kernel looks at packets, and the tables that it asks, in
// its order (linux/netfilter_ipv4.h, NF_IP_PRI_*): nat comes last where it changes
// sources.
type hook struct {
	name, what string
	tables     []string
}

const (
	input       = "INPUT"
	forward     = "FORWARD"
	postrouting = "POSTROUTING"
	security    = "security"
)

// hooks are all of them, in the order in which a packet that comes in meets them,
// and then one that goes out.
var hooks = []hook{
	{iptables.Prerouting, "inbound packets, also by lo", []string{iptables.Raw, iptables.Mangle, iptables.NAT}},
	{input, "packets to a socket of the pod", []string{iptables.Mangle, iptables.Filter, security, iptables.NAT}},
	{forward, "forwarded packets", []string{iptables.Mangle, iptables.Filter, security}},
	{iptables.Output, "packets from a socket of the pod", []string{iptables.Raw, iptables.Mangle, iptables.NAT, iptables.Filter, security}},
	{postrouting, "outbound packets, also by lo", []string{iptables.Mangle, iptables.NAT}},
}

// tableNames are the tables in the order in which a hook asks them.
var tableNames = []string{iptables.Raw, iptables.Mangle, iptables.NAT, iptables.Filter, security}

// calls tells whether a hook calls the chain of its name in a table.
func (h hook) calls(table string) bool { return slices.Contains(h.tables, table) }

// builtin returns the place of a built-in chain among those of its table, as
// iptables-save orders them; -1 for any other chain.
func builtin(table, chain string) int {
	n := 0
	for _, h := range hooks {
		switch {
		case !h.calls(table):
		case h.name == chain:
			return n
		default:
			n++
		}
	}
	return -1
}

// compareTables orders tables as hooks ask them, and unknown ones behind.
func compareTables(x, y string) int {
	rank := func(name string) int {
		if i := slices.Index(tableNames, name); i >= 0 {
			return i
		}
		return len(tableNames)
	}
	return cmp.Or(rank(x)-rank(y), cmp.Compare(x, y))
}

// compareChains orders chains of a table: built-in ones by their hooks, then the
// others by name.
func compareChains(table, x, y string) int {
	rank := func(name string) int {
		if i := builtin(table, name); i >= 0 {
			return i
		}
		return len(hooks)
	}
	return cmp.Or(rank(x)-rank(y), cmp.Compare(x, y))
}
