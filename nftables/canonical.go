package nftables

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// canonical returns the expressions of a live rule as [Compile] makes them, where there are
// others of the same meaning: nft makes some of the text that we print, which a user may load
// with nft -f, and kernels before 5.6 do not know what a bitwise expression does besides mask
// and xor.
func canonical(f inet.Family, exprs []expression) []expression {
	var same []expression
	for i := 0; i < len(exprs); i++ {
		e := exprs[i]
		if i+1 < len(exprs) {
			if whole, ok := wholeAddress(f, e, exprs[i+1]); ok {
				same = append(same, whole...)
				i++
				continue
			}
			if r, ok := asRange(e, exprs[i+1]); ok {
				same = append(same, r)
				i++
				continue
			}
		}
		if bits := maskOf(e); bits != nil {
			e = mask(bits)
		}
		if i > 0 && exprs[i-1].name == "meta" && e.set.ofHostIDs() {
			same = append(same, networkOrder())
			e.set = e.set.inNetworkOrder()
		}
		if e.set.ofAddresses() {
			e.set = e.set.inPrefixes()
		}
		same = append(same, e)
	}
	return same
}

// wholeAddress returns the comparison with a prefix of whole bytes: nft loads those alone.
func wholeAddress(f inet.Family, load, to expression) (exprs []expression, ok bool) {
	data, value := []byte(load.data), netutil.Attribute(netutil.Attribute([]byte(to.data), unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE)
	size := f.Bits() / 8
	n := len(value)
	if load.name != "payload" || to.name != "cmp" || n == 0 || n >= size || int(number(data, unix.NFTA_PAYLOAD_LEN)) != n {
		return nil, false
	}
	for _, a := range addressFields[f] {
		part := payload(unix.NFT_PAYLOAD_NETWORK_HEADER, number([]byte(a.load.data), unix.NFTA_PAYLOAD_OFFSET), uint32(n))
		if part.data == load.data {
			rest := make([]byte, size-n)
			bits := append(slices.Repeat([]byte{0xff}, n), rest...)
			return []expression{a.load, mask(bits), compare(number([]byte(to.data), unix.NFTA_CMP_OP), slices.Concat(value, rest))}, true
		}
	}
	return nil, false
}

// maskOf returns the bits that a bitwise expression without an operation keeps; nil: it does
// something else.
func maskOf(e expression) []byte {
	bits := netutil.Attribute(netutil.Attribute([]byte(e.data), unix.NFTA_BITWISE_MASK), unix.NFTA_DATA_VALUE)
	if e.name == "bitwise" && len(bits) > 0 && e.data == bitwise(bits) {
		return bits
	}
	return nil
}

// asRange returns two comparisons as one with a range, as nft before 1.1 makes them.
func asRange(from, to expression) (r expression, ok bool) {
	lo := netutil.Attribute(netutil.Attribute([]byte(from.data), unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE)
	hi := netutil.Attribute(netutil.Attribute([]byte(to.data), unix.NFTA_CMP_DATA), unix.NFTA_DATA_VALUE)
	if from.name != "cmp" || to.name != "cmp" || len(lo) != len(hi) ||
		from.data != compare(unix.NFT_CMP_GTE, lo).data || to.data != compare(unix.NFT_CMP_LTE, hi).data {
		return r, false
	}
	return inRange(false, lo, hi), true
}

// ofHostIDs reports whether a set has ids as the kernel has them: no ranges, which it could
// not compare.
func (s *set) ofHostIDs() bool {
	return s != nil && s.single && (s.kind == kindUID || s.kind == kindGID)
}

// inNetworkOrder returns a set with the bytes of its values turned around.
func (s *set) inNetworkOrder() *set {
	turned := &set{kind: s.kind}
	for _, i := range s.intervals {
		id := network32(binary.NativeEndian.Uint32([]byte(i.lo)))
		turned.intervals = append(turned.intervals, interval{string(id), string(id)})
	}
	slices.SortFunc(turned.intervals, func(a, b interval) int { return cmp.Compare(a.lo, b.lo) })
	return turned
}

func (s *set) ofAddresses() bool { return s != nil && (s.kind == kindIPv4 || s.kind == kindIPv6) }

// inPrefixes returns a set with neighbouring prefixes, which nft joins, as they were.
func (s *set) inPrefixes() *set {
	split := &set{kind: s.kind, single: s.single}
	for _, i := range s.intervals {
		split.intervals = append(split.intervals, i.prefixes()...)
	}
	return split
}

// prefixes returns an interval as the fewest prefixes.
func (i interval) prefixes() []interval {
	p, exact := i.prefix()
	if exact || !p.IsValid() || i.lo > i.hi {
		return []interval{i}
	}
	lower := addresses(netip.PrefixFrom(p.Addr(), p.Bits()+1)).hi
	upper, _ := after(lower)
	return append(interval{i.lo, lower}.prefixes(), interval{string(upper), i.hi}.prefixes()...)
}

// prefix returns the smallest prefix that an interval of addresses is in, and whether it is that prefix.
func (i interval) prefix() (p netip.Prefix, exact bool) {
	first, ok := netip.AddrFromSlice([]byte(i.lo))
	if !ok || len(i.hi) != len(i.lo) {
		return p, false
	}
	n := 0
	for b := range len(i.lo) {
		differ := i.lo[b] ^ i.hi[b]
		if n += bits.LeadingZeros8(differ); differ != 0 {
			break
		}
	}
	p = netip.PrefixFrom(first, n).Masked()
	return p, addresses(p) == i
}
