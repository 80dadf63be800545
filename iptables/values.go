package iptables

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A PortRange is the ports from Lo to Hi, both included. The zero value is no
// range; a single port has Lo == Hi.
type PortRange struct{ Lo, Hi uint16 }

// Port returns the range that holds one port.
func Port(p uint16) PortRange { return PortRange{p, p} }

// Contains reports whether a port is in the range.
func (r PortRange) Contains(p uint16) bool { return r.Lo <= p && p <= r.Hi }

// Single reports whether the range is one port.
func (r PortRange) Single() bool { return r.Lo == r.Hi }

// String returns the form iptables prints: "80" or "80:90".
func (r PortRange) String() string {
	lo := strconv.Itoa(int(r.Lo))
	if r.Single() {
		return lo
	}
	return lo + ":" + strconv.Itoa(int(r.Hi))
}

// MarshalText is the inverse of UnmarshalText.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText takes a port from 1 to 65535, or a range a-b or a:b of them. As in iptables,
// the range a: ends at 65535, and :b begins at 0. Such a range of all ports begins at 1: iptables
// prints 0:65535 as no condition, and no socket has port 0.
func (r *PortRange) UnmarshalText(text []byte) error {
	s := string(text)
	for _, start := range []string{":", "0:", "0-"} {
		if end, ok := strings.CutPrefix(s, start); ok {
			_, hi, err := parseRange(end, "", 1, 65535, 16)
			*r = allPorts(PortRange{0, uint16(hi)})
			return err
		}
	}
	if strings.HasSuffix(s, ":") || strings.HasSuffix(s, "-") {
		s += "65535"
	}
	lo, hi, err := parseRange(s, "-:", 1, 65535, 16)
	if err != nil {
		return err
	}
	*r = PortRange{uint16(lo), uint16(hi)}
	return nil
}

// allPorts returns the range, and for 0 to 65535 that from 1.
func allPorts(r PortRange) PortRange {
	if r.Hi == 65535 {
		r.Lo = max(r.Lo, 1)
	}
	return r
}

// MaxID is the highest user or group id the kernel matches; the one above it
// means "no id" (linux/uidgid.h, INVALID_UID).
const MaxID = 1<<32 - 2

// An IDRange is the user or group ids from Lo to Hi, both included. A single
// id has Lo == Hi; the zero value is id 0, root.
type IDRange struct{ Lo, Hi uint32 }

// ID returns the range that holds one id.
func ID(id uint32) IDRange { return IDRange{id, id} }

// Contains reports whether an id is in the range.
func (r IDRange) Contains(id uint32) bool { return r.Lo <= id && id <= r.Hi }

// String returns the form iptables prints: "1337" or "1000-2000".
func (r IDRange) String() string {
	if r.Lo == r.Hi {
		return strconv.FormatUint(uint64(r.Lo), 10)
	}
	return fmt.Sprintf("%d-%d", r.Lo, r.Hi)
}

// MarshalText is the inverse of UnmarshalText.
func (r IDRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText takes an id from 0 to [MaxID], or a range a-b of them.
func (r *IDRange) UnmarshalText(text []byte) error {
	lo, hi, err := parseRange(string(text), "-", 0, MaxID, 32)
	if err != nil {
		return err
	}
	*r = IDRange{uint32(lo), uint32(hi)}
	return nil
}

// An Interface is the name of a network interface, or with a trailing "+" all
// interfaces whose name starts so.
type Interface string

// MaxInterfaceLen is the most bytes an interface name has (linux/if.h,
// IFNAMSIZ less the terminating zero).
const MaxInterfaceLen = 15

// Matches reports whether the interface name is meant.
func (i Interface) Matches(name string) bool {
	if prefix, ok := strings.CutSuffix(string(i), "+"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return string(i) == name
}

// UnmarshalText takes a name by the kernel's rules (dev_valid_name in
// net/core/dev.c: 1 to 15 bytes, not . or .., no slash, colon or space), with
// an optional trailing "+", and of these only what iptables-restore reads as
// one word: printable ASCII, no quotes, no backslash, no leading - or !.
func (i *Interface) UnmarshalText(text []byte) error {
	s := string(text)
	switch {
	case s == "" || s == "+":
		return errors.New("is not an interface name: it is empty")
	case len(s) > MaxInterfaceLen:
		return fmt.Errorf("is not an interface name: longer than %d bytes", MaxInterfaceLen)
	case s == "." || s == "..":
		return errors.New("is not an interface name: the kernel reserves it")
	case s[0] == '-' || s[0] == '!':
		return fmt.Errorf("is not an interface name: it starts with %q", s[0])
	}
	for _, c := range s {
		if c <= ' ' || c > '~' || strings.ContainsRune(`/:"'\,*`, c) {
			return fmt.Errorf("is not an interface name: it contains %q", c)
		}
	}
	*i = Interface(s)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (i Interface) MarshalText() ([]byte, error) { return []byte(i), nil }

// A Mark is a packet or connection mark and the bits of it that count. The zero
// value has no bits that count, so it matches every mark.
type Mark struct{ Value, Mask uint32 }

// FullMark returns the mark of which all 32 bits count.
func FullMark(v uint32) Mark { return Mark{v, 1<<32 - 1} }

// Matches reports whether a mark has the bits.
func (m Mark) Matches(mark uint32) bool { return mark&m.Mask == m.Value }

// String returns the form of a match in iptables: the mask is left out when it
// is full.
func (m Mark) String() string {
	if m.Mask == 1<<32-1 {
		return fmt.Sprintf("%#x", m.Value)
	}
	return fmt.Sprintf("%#x/%#x", m.Value, m.Mask)
}

// parseRange reads "n" or "lo<sep>hi" with one of the separators, both within
// limits.
func parseRange(s, seps string, low, high uint64, bits int) (lo, hi uint64, err error) {
	one, two, ranged := s, "", false
	if i := strings.IndexAny(s, seps); i > 0 {
		one, two, ranged = s[:i], s[i+1:], true
	}
	lo, err = parseNumber(one, bits)
	if hi = lo; ranged && err == nil {
		hi, err = parseNumber(two, bits)
	}
	switch {
	case err != nil || lo < low || lo > high || hi < low || hi > high:
		return 0, 0, fmt.Errorf("is not a number from %d to %d", low, high)
	case lo > hi:
		return 0, 0, errors.New("is a range that ends before it starts")
	}
	return lo, hi, nil
}

// parseNumber reads decimal digits and nothing else: no sign, no underscore.
func parseNumber(s string, bits int) (uint64, error) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.ParseUint(s, 10, bits)
}
