package iptables

import (
	"cmp"
	"slices"
)

// MaxGroupRules is the length up to which a list of groups becomes one rule for each element,
// as in Istio.
const MaxGroupRules = 64

// LowerGroups returns the groups that rules have to match, and whether they become a tree: a
// short list as it is, a long list in ascending order, with neighbours as one range.
func LowerGroups(list []IDRange) (groups []IDRange, tree bool) {
	if len(list) <= MaxGroupRules {
		return list, false
	}
	merged := MergeGroups(list)
	return merged, len(merged) > MaxGroupRules
}

// MergeGroups returns the same groups as few ranges in ascending order.
func MergeGroups(list []IDRange) []IDRange {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b IDRange) int { return cmp.Or(cmp.Compare(a.Lo, b.Lo), cmp.Compare(a.Hi, b.Hi)) })
	merged := sorted[:0]
	for _, r := range sorted {
		if n := len(merged); n > 0 && r.Lo <= merged[n-1].Hi+1 { // MaxID+1 is a uint32
			merged[n-1].Hi = max(merged[n-1].Hi, r.Hi)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// A GroupTree describes the chains for a long list of groups, as a [PrefixTree] does those for
// prefixes.
type GroupTree struct {
	Root   string
	Leaf   Rule // for a range of the list, which becomes its group
	Branch Role
	Rest   Rule
}

// Chains returns the chains for groups that are disjoint and in order.
func (t GroupTree) Chains(groups []IDRange) []Chain {
	of := func(r Rule, g IDRange) Rule {
		r.GIDs = []Cond[IDRange]{Is(g)}
		return r
	}
	return tree[IDRange]{
		root: t.Root, rest: t.Rest,
		leaf:   func(g IDRange) Rule { return of(t.Leaf, g) },
		branch: func(part []IDRange) Rule { return of(Rule{Role: t.Branch}, IDRange{part[0].Lo, part[len(part)-1].Hi}) },
		parts: func(groups []IDRange) [][]IDRange {
			return slices.Collect(slices.Chunk(groups, (len(groups)+MaxBranches-1)/MaxBranches))
		},
	}.chains(groups)
}
