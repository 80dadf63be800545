package picture

import (
	"cmp"
	"slices"

	"istio-init/iptables"
)

// A hook is a hook of netfilter.
type hook struct{ name, what string }

// tables returns the tables that it calls, in their order.
func (h hook) tables() []string { return iptables.TablesAt(h.name) }

const (
	input       = iptables.Input
	forward     = iptables.Forward
	postrouting = iptables.Postrouting
)

// hooks are all of them, in the order of [iptables.Hooks].
var hooks = []hook{
	{iptables.Prerouting, "inbound packets, also by lo"},
	{iptables.Input, "packets to a socket of the pod"},
	{iptables.Forward, "forwarded packets"},
	{iptables.Output, "packets from a socket of the pod"},
	{iptables.Postrouting, "outbound packets, also by lo"},
}

// builtin returns the place of a built-in chain among those of its table, as
// iptables-save orders them; -1 for any other chain.
func builtin(table, chain string) int { return slices.Index(iptables.BuiltinChains(table), chain) }

// compareTables orders tables as hooks call them, then unknown ones by name.
func compareTables(x, y string) int {
	rank := func(name string) int {
		if i := slices.Index(iptables.Tables, name); i >= 0 {
			return i
		}
		return len(iptables.Tables)
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
