// Package inet owns the two address families of the Internet, so that nobody has
// to say "v6 bool". It imports nothing of ours.
package inet

import (
	"errors"
	"net/netip"
)

// A Family is an address family. The kernel keeps addresses, routes and packet
// filter rules of each apart. The zero value is IPv4.
type Family uint8

// The two families, in the order in which they are always listed.
const (
	IPv4 Family = iota
	IPv6
)

// Families are both families in their order.
var Families = [...]Family{IPv4, IPv6}

// PerFamily holds one value for each family, indexed by [Family].
type PerFamily[T any] [len(Families)]T

// Of returns the family of an address. An IPv4-mapped address is an IPv6 one, as it
// is for ip6tables; the zero Addr is an IPv4 one.
func Of(a netip.Addr) Family {
	if a.Is6() {
		return IPv6
	}
	return IPv4
}

// String returns "ipv4" or "ipv6".
func (f Family) String() string {
	if f == IPv6 {
		return "ipv6"
	}
	return "ipv4"
}

// MarshalText returns what String does.
func (f Family) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText takes what MarshalText returns.
func (f *Family) UnmarshalText(text []byte) error {
	for _, known := range Families {
		if known.String() == string(text) {
			*f = known
			return nil
		}
	}
	return errors.New("is not an address family")
}

// Has reports whether an address is valid and of the family.
func (f Family) Has(a netip.Addr) bool { return a.IsValid() && Of(a) == f }

// Bits returns how many bits an address of the family has.
func (f Family) Bits() int { return f.Any().BitLen() }

// Any returns the unspecified address of the family, 0.0.0.0 or ::.
func (f Family) Any() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// All returns the prefix of every address of the family, 0.0.0.0/0 or ::/0.
func (f Family) All() netip.Prefix { return netip.PrefixFrom(f.Any(), 0) }

// Localhost returns 127.0.0.1 or ::1.
func (f Family) Localhost() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
