package iptables

import "slices"

// The tables, by their kernel names.
const (
	Raw      = "raw"
	Mangle   = "mangle"
	NAT      = "nat"
	Filter   = "filter"
	Security = "security"
)

// The hooks of the kernel, by the names of the built-in chains that they call.
const (
	Prerouting  = "PREROUTING"
	Input       = "INPUT"
	Forward     = "FORWARD"
	Output      = "OUTPUT"
	Postrouting = "POSTROUTING"
)

// Hooks are all hooks: first those that an incoming packet passes, then those that
// an outgoing one does.
var Hooks = []string{Prerouting, Input, Forward, Output, Postrouting}

// Tables are all tables in the order in which a hook calls them (net/netfilter:
// raw -300, mangle -150, nat -100, filter 0, security 50).
var Tables = []string{Raw, Mangle, NAT, Filter, Security}

var builtinChains = map[string][]string{
	Raw:      {Prerouting, Output},
	Mangle:   {Prerouting, Input, Forward, Output, Postrouting},
	NAT:      {Prerouting, Input, Output, Postrouting},
	Filter:   {Input, Forward, Output},
	Security: {Input, Forward, Output},
}

// BuiltinChains returns the built-in chains of a table, in the order in which
// iptables-save prints them; none for a table that the kernel does not have.
func BuiltinChains(table string) []string { return builtinChains[table] }

// TablesAt returns the tables that a hook calls, in its order. At INPUT nat comes
// last: there it changes sources (linux/netfilter_ipv4.h, NF_IP_PRI_NAT_SRC).
func TablesAt(hook string) []string {
	var names, last []string
	for _, table := range Tables {
		switch {
		case !slices.Contains(builtinChains[table], hook):
		case table == NAT && hook == Input:
			last = append(last, table)
		default:
			names = append(names, table)
		}
	}
	return append(names, last...)
}
