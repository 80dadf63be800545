package nftables

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// Name is the name of our tables, of the families ip and ip6.
const Name = "istio-init"

// A Table is the rules of one family. One without chains is none.
type Table struct {
	Family inet.Family
	Chains []Chain

	flags uint32 // of a live table, as nft lists them; ours has none
}

// A Chain is a chain of a table of iptables.
type Chain struct {
	Table, Name string // of iptables: "nat", "OUTPUT"
	Rules       []Rule

	base   base   // the zero base: it has no hook
	handle string // of a live chain: its number
}

// A Rule is a rule of nf_tables.
type Rule struct {
	Typed []iptables.Rule // what it says: of a set, a rule for each element; none where another rule has said it

	text   string // as nft prints it
	exprs  []expression
	handle string // of a live rule: its number
}

// kernelName is the chain's name in nf_tables.
func (c Chain) kernelName() string {
	if c.Table == "" { // not one of ours
		return c.Name
	}
	return c.Table + "-" + c.Name
}

// renamed returns the chain with a prefix before its name, and before those that it jumps to.
func (c Chain) renamed(prefix string) Chain {
	c.Name = prefix + c.Name
	if c.base.kind != "" {
		c.base.text = fmt.Sprint(c.base.priority)
	}
	rules := c.Rules
	c.Rules = nil
	for _, r := range rules {
		r.exprs = slices.Clone(r.exprs)
		for i, e := range r.exprs {
			v := netutil.Attribute(netutil.Attribute([]byte(e.data), unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT)
			if table, to, jumps := strings.Cut(text(v, unix.NFTA_VERDICT_CHAIN), "-"); e.name == "immediate" && jumps {
				r.exprs[i] = verdict(int32(number(v, unix.NFTA_VERDICT_CODE)), table+"-"+prefix+to)
			}
		}
		c.Rules = append(c.Rules, r)
	}
	return c
}

// A base is where the kernel calls a chain.
type base struct {
	kind     string // "filter", "nat" or "route"
	hook     uint32
	priority int32
	text     string // of the priority
	drops    bool   // its policy is drop
}

// bases are those of the built-in chains. Each comes right behind that of iptables at the
// same hook: of equal priorities, the last that was added would be called first.
var bases = map[string]map[string]base{
	iptables.Raw: {
		iptables.Prerouting: {"filter", unix.NF_INET_PRE_ROUTING, -299, "raw + 1", false},
		iptables.Output:     {"filter", unix.NF_INET_LOCAL_OUT, -299, "raw + 1", false},
	},
	iptables.Mangle: {
		iptables.Prerouting: {"filter", unix.NF_INET_PRE_ROUTING, -149, "mangle + 1", false},
		iptables.Output:     {"route", unix.NF_INET_LOCAL_OUT, -149, "mangle + 1", false},
	},
	iptables.NAT: {
		iptables.Prerouting: {"nat", unix.NF_INET_PRE_ROUTING, -99, "dstnat + 1", false},
		iptables.Output:     {"nat", unix.NF_INET_LOCAL_OUT, -99, "-99", false},
	},
}

// newChain returns a chain without rules; an error for a built-in one that is never ours.
func newChain(table, name string) (Chain, error) {
	c := Chain{Table: table, Name: name, base: bases[table][name]}
	if bases[table] == nil || slices.Contains(iptables.BuiltinChains(table), name) && c.base.kind == "" {
		return c, fmt.Errorf("the chain %s of the table %s has no place in nf_tables", name, table)
	}
	return c, nil
}

// String returns the table as nft 1.0.6 lists it; "" for none.
func (t Table) String() string {
	if len(t.Chains) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", family(t.Family), Name)
	for i, c := range t.Chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "\tchain %s {\n", c.kernelName())
		if c.base.kind != "" {
			hook := map[uint32]string{unix.NF_INET_PRE_ROUTING: "prerouting", unix.NF_INET_LOCAL_OUT: "output"}[c.base.hook]
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.base.kind, hook, c.base.text)
		}
		for _, r := range c.Rules {
			b.WriteString("\t\t" + r.text + "\n")
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// family is how nft names a family.
func family(f inet.Family) string { return inet.PerFamily[string]{"ip", "ip6"}[f] }

// Equal reports whether the kernel does the same in both tables: chains, hooks and rules with
// their expressions, in their order.
func (t Table) Equal(other Table) bool {
	return t.Family == other.Family && t.flags == other.flags && slices.EqualFunc(t.Chains, other.Chains, func(a, b Chain) bool {
		return a.kernelName() == b.kernelName() && a.base == b.base && slices.EqualFunc(a.Rules, b.Rules, Rule.equal)
	})
}

func (r Rule) equal(other Rule) bool {
	return slices.EqualFunc(r.exprs, other.exprs, func(a, b expression) bool {
		return a.name == b.name && a.data == b.data && a.set.equal(b.set)
	})
}

// Ruleset returns what the table says, in the terms of iptables.
func (t Table) Ruleset() iptables.Ruleset {
	rs := iptables.Ruleset{Family: t.Family}
	for _, c := range t.Chains {
		at := slices.IndexFunc(rs.Tables, func(t iptables.Table) bool { return t.Name == c.Table })
		if at < 0 {
			at = len(rs.Tables)
			rs.Tables = append(rs.Tables, iptables.Table{Name: c.Table})
		}
		chain := iptables.Chain{Name: c.Name, Rules: make([]iptables.Rule, 0, len(c.Rules))}
		for _, r := range c.Rules {
			chain.Rules = append(chain.Rules, r.Typed...)
		}
		rs.Tables[at].Chains = append(rs.Tables[at].Chains, chain)
	}
	return rs
}
