package iptables

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// A long list of prefixes costs every new connection one comparison for each. So it becomes
// a tree of chains by leading bits, in which a packet meets a few dozen rules whatever the
// length:
//
//	LIST - 10.0.0.0/9    -> LIST_1 - 10.1.0.0/16 leaf
//	     |                         | 10.7.0.0/16 leaf
//	     | 172.16.0.0/12 -> ...    | rest
//	     | rest
//
// The chains are entered by goto, which does not come back: a packet that returns from one
// returns from the chain that goes to the tree.

// MaxPrefixRules is the length up to which a list of prefixes becomes one rule for each
// element, as in Istio.
const MaxPrefixRules = 32

// MaxBranches is how many rules a chain of a tree has for its branches.
const MaxBranches = 16

// maxInPlace is how many prefixes are in the chain instead of a branch: a chain for them would
// not save a rule.
const maxInPlace = 2

// LowerPrefixes returns the prefixes of one family that rules have to match, and whether
// they become a tree: a short list as it is, a long list merged.
func LowerPrefixes(list []netip.Prefix) (prefixes []netip.Prefix, tree bool) {
	if len(list) <= MaxPrefixRules {
		return list, false
	}
	merged := MergePrefixes(list)
	return merged, len(merged) > MaxPrefixRules
}

// MergePrefixes returns the same addresses as few prefixes in ascending order.
func MergePrefixes(list []netip.Prefix) []netip.Prefix {
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

// A PrefixTree describes the chains for a long list of prefixes.
type PrefixTree struct {
	Root   string // name of the first chain; the others are ROOT_1, ROOT_2 and so on
	Leaf   Rule   // for a prefix of the list, which becomes its destination
	Branch Role   // of a rule to a branch
	Rest   Rule   // for packets to none of the prefixes; without a target, they return
}

// Chains returns the chains for prefixes that are disjoint and in order.
func (t PrefixTree) Chains(prefixes []netip.Prefix) []Chain {
	to := func(r Rule, p netip.Prefix) Rule {
		r.Dst = Is(p)
		return r
	}
	return tree[netip.Prefix]{
		root: t.Root, rest: t.Rest, parts: branches,
		leaf:   func(p netip.Prefix) Rule { return to(t.Leaf, p) },
		branch: func(part []netip.Prefix) Rule { return to(Rule{Role: t.Branch}, cover(part)) },
	}.chains(prefixes)
}

// A tree is a list of values whose rules are a tree of chains.
type tree[T any] struct {
	root   string
	leaf   func(T) Rule   // for a value
	branch func([]T) Rule // for all of a part, without its target
	rest   Rule           // the last of each chain; without a target, there is none
	parts  func([]T) [][]T
}

func (t tree[T]) chains(values []T) []Chain {
	var chains []Chain
	t.grow(&chains, values)
	return chains
}

// grow adds the chain for values, and those of its branches.
func (t tree[T]) grow(chains *[]Chain, values []T) (name string) {
	name = t.root
	at := len(*chains)
	if at > 0 {
		name = fmt.Sprintf("%s_%d", t.root, at)
	}
	*chains = append(*chains, Chain{Name: name})
	parts := t.parts(values)
	n := 1
	for _, branch := range parts {
		n += min(len(branch), maxInPlace)
	}
	rules := make([]Rule, 0, n)
	for _, branch := range parts {
		if len(branch) <= maxInPlace {
			for _, v := range branch {
				rules = append(rules, t.leaf(v))
			}
			continue
		}
		into := t.branch(branch)
		into.Target = Goto{Chain: t.grow(chains, branch)}
		rules = append(rules, into)
	}
	if t.rest.Target != nil {
		rules = append(rules, t.rest)
	}
	(*chains)[at].Rules = rules
	return name
}

// branches cuts prefixes at their leading bits into parts of about the same length.
// As many as a chain has rules for are each a part of their own.
func branches(prefixes []netip.Prefix) [][]netip.Prefix {
	if len(prefixes) <= MaxBranches {
		return slices.Collect(slices.Chunk(prefixes, 1))
	}
	parts := [][]netip.Prefix{prefixes}
	for len(parts) < MaxBranches {
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
