package nftables

import (
	"cmp"
	"net/netip"
	"slices"
)

// A set is the values of an anonymous set, as intervals in ascending order that do not overlap.
type set struct {
	kind      uint32 // of the values, as nft numbers it; it prints them by that
	intervals []interval
	single    bool // the kernel has values, not intervals
}

// An interval is the values from lo to hi, both included, in network byte order.
type interval struct{ lo, hi string }

// Types of values (nft's src/datatype.c).
const (
	kindPort = 13
	kindIPv4 = 7
	kindIPv6 = 8
	kindUID  = 24
	kindGID  = 25
)

// size is how many bytes a value has.
func (s *set) size() int { return len(s.intervals[0].lo) }

// ofValues reports whether the kernel gets values, as from nft, which it keeps in a hash table.
// That is there when the rules are, while a tree of intervals is built a moment later (nft_rbtree_commit
// in Linux's net/netfilter/nft_set_rbtree.c); see [Change.Staged]. Ids are always intervals: their bytes are turned around.
func (s *set) ofValues() bool {
	return s.kind != kindUID && s.kind != kindGID && !slices.ContainsFunc(s.intervals, func(i interval) bool { return i.lo != i.hi })
}

func (s *set) equal(other *set) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.kind == other.kind && slices.Equal(s.intervals, other.intervals)
}

// disjoint returns prefixes in ascending order, without those that are part of another. Halves
// of a larger one stay: a rule for two DNS servers names both.
func disjoint(list []netip.Prefix) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range list {
		all = append(all, p.Masked())
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	kept := all[:0]
	for _, p := range all {
		if n := len(kept); n == 0 || !kept[n-1].Contains(p.Addr()) {
			kept = append(kept, p)
		}
	}
	return kept
}

// addresses returns the interval of a prefix.
func addresses(p netip.Prefix) interval {
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return interval{string(p.Addr().AsSlice()), string(last)}
}

// after returns the value that follows one; none after the greatest.
func after(value string) (next []byte, ok bool) {
	next = []byte(value)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next, true
		}
	}
	return nil, false
}

// before returns the value that one follows; of the least, the greatest.
func before(value []byte) string {
	last := slices.Clone(value)
	for i := len(last) - 1; i >= 0; i-- {
		if last[i]--; last[i] != 0xff {
			break
		}
	}
	return string(last)
}
