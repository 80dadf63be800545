package iptables

import "net/netip"

// A Family is an address family; each has tables of its own in the kernel. The
// zero value is IPv4.
type Family uint8

// The two families, in the order in which they are always listed.
const (
	IPv4 Family = iota
	IPv6
)

// Families are both families in their order.
var Families = [...]Family{IPv4, IPv6}

// String returns "ipv4" or "ipv6".
func (f Family) String() string {
	if f == IPv6 {
		return "ipv6"
	}
	return "ipv4"
}

// SaveTool returns the name of the program that prints the rules of the family.
func (f Family) SaveTool() string {
	if f == IPv6 {
		return "ip6tables-save"
	}
	return "iptables-save"
}

// Has tells whether an address is of the family. An IPv4-mapped address is an
// IPv6 one, as it is for ip6tables.
func (f Family) Has(a netip.Addr) bool {
	return a.IsValid() && a.Is4() == (f == IPv4)
}

// familyOf returns the family of an address.
func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Any returns the unspecified address of the family.
func (f Family) Any() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// Localhost returns 127.0.0.1 or ::1.
func (f Family) Localhost() netip.Addr {
	if f == IPv6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}
