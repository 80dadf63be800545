package capture

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A long list of prefixes costs every new connection one comparison for each. So
// it becomes a tree of chains by leading bits, in which a packet meets a few dozen
// rules whatever the length:
//
//	ISTIO_OUTPUT ──▶ ISTIO_EXCLUDE ─ 10.0.0.0/9   ─▶ ISTIO_EXCLUDE_1 ─ 10.1.0.0/16 RETURN
//	                      │                          │                10.7.0.0/16 RETURN
//	                      ├ 172.16.0.0/12 ─▶ ...     └──▶ ISTIO_OUTPUT_APP
//	                      └──▶ ISTIO_OUTPUT_APP
//
// The chains are entered by goto, which does not come back: what a chain returns
// from, ISTIO_OUTPUT returns from. So a destination that is excluded leaves with
// one RETURN, and one that is not goes on in the chain behind the list.

// maxPrefixRules is how long a list of prefixes may be of which each element has
// a rule of its own, as in Istio.
const maxPrefixRules = 32

// maxBranches is how many rules a chain of a tree has for its branches.
const maxBranches = 16

// maxInPlace is how many prefixes stand where their branch would: a chain for them
// would not save a rule.
const maxInPlace = 2

// prefixRules returns the prefixes of one family in which rules have to name them,
// and whether that takes a tree: a short list as it is, a long one without what is
// in it twice, see merged.
func (c Config) prefixRules(list []netip.Prefix, f inet.Family) (prefixes []netip.Prefix, tree bool) {
	prefixes = ofFamily(list, f)
	return prefixes, len(prefixes) > maxPrefixRules && c.Generation == Current
}

// merged is the config with the long lists of prefixes of a family merged.
func (c Config) merged(f inet.Family) Config {
	for _, list := range []*[]netip.Prefix{&c.OutboundPrefixes.Only, &c.OutboundPrefixes.Except} {
		if prefixes, long := c.prefixRules(*list, f); long {
			others := slices.DeleteFunc(slices.Clone(*list), func(p netip.Prefix) bool { return f.Has(p.Addr()) })
			*list = append(mergePrefixes(prefixes), others...)
		}
	}
	return c
}

// mergePrefixes returns the same addresses as few prefixes in ascending order.
func mergePrefixes(list []netip.Prefix) []netip.Prefix {
	sorted := make([]netip.Prefix, len(list))
	for i, p := range list {
		sorted[i] = p.Masked()
	}
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	merged := sorted[:0]
	for _, p := range sorted {
		if n := len(merged); n > 0 && merged[n-1].Contains(p.Addr()) {
			continue
		}
		merged = append(merged, p)
		for n := len(merged); n > 1 && siblings(merged[n-2], merged[n-1]); n-- {
			merged[n-2] = parent(merged[n-2])
			merged = merged[:n-1]
		}
	}
	return merged
}

// parent is the prefix that is one bit shorter.
func parent(p netip.Prefix) netip.Prefix { return netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked() }

// siblings reports whether two prefixes are the halves of another.
func siblings(a, b netip.Prefix) bool {
	return a.Bits() == b.Bits() && a.Bits() > 0 && parent(a) == parent(b)
}

// A prefixTree writes the chains of a list.
type prefixTree struct {
	root   string          // name of the first chain, with which those of the others begin
	leaf   iptables.Target // for a destination of the list
	role   iptables.Role   // of a rule with the leaf
	branch iptables.Role   // of a rule to a branch
	rest   iptables.Target // for one that is not; nil: it returns
	chains []iptables.Chain
}

// grow adds the chain for prefixes that are disjoint and in order, and those of its
// branches.
func (t *prefixTree) grow(prefixes []netip.Prefix) (name string) {
	name = t.root
	if len(t.chains) > 0 {
		name = fmt.Sprintf("%s_%d", t.root, len(t.chains))
	}
	at := len(t.chains)
	t.chains = append(t.chains, iptables.Chain{Name: name})
	parts := branches(prefixes)
	n := 1
	for _, branch := range parts {
		n += min(len(branch), maxInPlace)
	}
	rules := make([]rule, 0, n)
	for _, branch := range parts {
		if len(branch) <= maxInPlace {
			for _, p := range branch {
				rules = append(rules, when(match{Dst: iptables.Is(p)}, t.leaf, t.role))
			}
			continue
		}
		next := t.grow(branch)
		rules = append(rules, when(match{Dst: iptables.Is(cover(branch))}, iptables.Goto{Chain: next}, t.branch))
	}
	if t.rest != nil {
		rules = append(rules, when(match{}, t.rest, RoleNotExcluded))
	}
	t.chains[at].Rules = rules
	return name
}

// branches cuts prefixes at their leading bits into parts of about the same length.
// As many as a chain has rules for are each a part of their own.
func branches(prefixes []netip.Prefix) [][]netip.Prefix {
	if len(prefixes) <= maxBranches {
		return slices.Collect(slices.Chunk(prefixes, 1))
	}
	parts := [][]netip.Prefix{prefixes}
	for len(parts) < maxBranches {
		longest := 0
		for i, part := range parts {
			if len(part) > len(parts[longest]) {
				longest = i
			}
		}
		low, high := halves(parts[longest])
		parts = slices.Replace(parts, longest, longest+1, low, high)
	}
	return parts
}

// halves cuts prefixes at the first bit in which they differ. There are two or more.
func halves(prefixes []netip.Prefix) (low, high []netip.Prefix) {
	bit := cover(prefixes).Bits()
	at, _ := slices.BinarySearchFunc(prefixes, 1, func(p netip.Prefix, want int) int { return bitAt(p.Addr(), bit) - want })
	return prefixes[:at:at], prefixes[at:]
}

// cover is the longest prefix that holds prefixes in their order.
func cover(prefixes []netip.Prefix) netip.Prefix {
	first, last := prefixes[0], prefixes[len(prefixes)-1]
	bits := min(first.Bits(), last.Bits())
	for !netip.PrefixFrom(first.Addr(), bits).Contains(last.Addr()) {
		bits--
	}
	return netip.PrefixFrom(first.Addr(), bits).Masked()
}

// bitAt is a bit of an address, counted from its first.
func bitAt(a netip.Addr, n int) int {
	bytes := a.AsSlice()
	return int(bytes[n/8]>>(7-n%8)) & 1
}
