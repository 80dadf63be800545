package nftables

import (
	"slices"
	"strings"

	"istio-init/iptables"
)

// A Live table is what the kernel has of ours in one family.
type Live struct {
	Table
	Present bool // the table is there, though it may have no chains
}

// A Change is the replacement of the table of one family.
type Change struct {
	Before Live
	After  Table
}

// String returns the change as nft -f takes it.
func (c Change) String() string {
	text := c.After.String()
	if c.Before.Present {
		text = "delete table " + family(c.After.Family) + " " + Name + "\n" + text
	}
	return text
}

// Plan returns what makes the tables the wanted ones: nothing for those that are. It is pure.
func Plan(have []Live, want []Table) []Change {
	var changes []Change
	for i, w := range want {
		if have[i].Present != (len(w.Chains) > 0) || !have[i].Equal(w) {
			changes = append(changes, Change{have[i], w})
		}
	}
	return changes
}

// Staged reports whether the change takes two transactions, as it has a new set of intervals
// while packets meet the rules from before. Linux 6.18 makes rules active, and a moment later
// such a set complete (nf_tables_commit, nft_set_commit_update in net/netfilter/nf_tables_api.c):
// until then a value is in none. So the first transaction only adds what no packet meets yet.
func (c Change) Staged() bool {
	if c.Before.flags != 0 || len(c.Before.Chains) == 0 {
		return false
	}
	for i, chain := range c.After.Chains {
		if !c.keeps(i) && slices.ContainsFunc(chain.Rules, Rule.hasIntervals) {
			return true
		}
	}
	return false
}

func (r Rule) hasIntervals() bool {
	return slices.ContainsFunc(r.exprs, func(e expression) bool { return e.set != nil && !e.set.ofValues() })
}

// sameChains reports whether only rules change. Then the chains stay: of two chains at the same
// hook and priority the kernel calls the newer first, and a packet that passes it just before a
// transaction takes effect, and the older just after, meets the rules of neither.
func (c Change) sameChains() bool {
	return c.Before.Present && c.Before.flags == c.After.flags && len(c.After.Chains) > 0 &&
		slices.EqualFunc(c.Before.Chains, c.After.Chains, func(a, b Chain) bool {
			return a.kernelName() == b.kernelName() && a.base == b.base
		})
}

// keeps reports whether the i-th chain stays as it is.
func (c Change) keeps(i int) bool {
	return c.sameChains() && slices.EqualFunc(c.Before.Chains[i].Rules, c.After.Chains[i].Rules, Rule.equal)
}

// prepared returns the table between the transactions of a staged change, where packets meet
// the rules from before. The new ones are behind them and a return, or in chains of other names:
// nothing jumps to those, and those with a hook have no rules yet.
func (c Change) prepared() Table {
	t := c.Before.Table
	if !c.Staged() {
		return t
	}
	t.Chains = slices.Clone(t.Chains)
	for i, chain := range c.After.Chains {
		switch {
		case !c.sameChains():
			next := chain.renamed(c.prefix())
			if next.base.kind != "" {
				next.Rules = nil
			}
			t.Chains = append(t.Chains, next)
		case chain.base.kind == "" && !c.keeps(i):
			end := Rule{exprs: []expression{verdict(verdicts[iptables.Return].code, "")}}
			t.Chains[i].Rules = slices.Concat(t.Chains[i].Rules, []Rule{end}, chain.Rules)
		}
	}
	return t
}

// prefix is what the names of chains begin with until they replace others. No live one begins
// with it, not even one that a killed run has left.
func (c Change) prefix() string {
	prefix := nextPrefix
	for slices.ContainsFunc(c.Before.Chains, func(c Chain) bool { return strings.HasPrefix(c.Name, prefix) }) {
		prefix += nextPrefix
	}
	return prefix
}

const nextPrefix = "next."
