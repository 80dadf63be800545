package iptables

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Cond is a condition on one property of a packet: that it is Val, or with
// Neg that it is not. The zero Cond is not Set and holds for every packet.
type Cond[T any] struct {
	Val      T
	Neg, Set bool
}

// Is returns the condition that the property is v.
func Is[T any](v T) Cond[T] { return Cond[T]{Val: v, Set: true} }

// Not returns the condition that the property is not v.
func Not[T any](v T) Cond[T] { return Cond[T]{Val: v, Neg: true, Set: true} }

// holds reports whether the condition is met when is says whether the property is
// Val.
func (c Cond[T]) holds(is func(T) bool) bool { return !c.Set || is(c.Val) != c.Neg }

// A Proto is a transport protocol by its IP number. The zero value is any
// protocol, as it is for iptables.
type Proto uint8

// The protocols the rules name.
const (
	TCP Proto = 6
	UDP Proto = 17
)

// String returns the name iptables prints, or the number.
func (p Proto) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return strconv.Itoa(int(p))
}

// States is a set of connection tracking states.
type States uint8

// The states of a packet's connection (iptables-extensions(8), conntrack), in
// the order in which iptables-save prints them.
const (
	Invalid States = 1 << iota
	New
	Related
	Established
	Untracked
	SNAT // the source was changed
	DNAT // the destination was changed
)

var stateNames = [...]string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"}

// String returns the form iptables prints, as in "RELATED,ESTABLISHED".
func (s States) String() string {
	var names []string
	for i, name := range stateNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// MaxMultiport is how many ports one multiport match holds; a range counts for
// two (linux/netfilter/xt_multiport.h, XT_MULTI_PORTS).
const MaxMultiport = 15

// A Match is a conjunction of conditions; the zero Match takes every packet.
// The fields stand in the order in which they are printed.
type Match struct {
	Src, Dst     Cond[netip.Prefix] // -s, -d; a prefix of 0 bits is every address and is not printed
	In, Out      Cond[Interface]    // -i, -o
	Proto        Proto              // -p; zero: any
	SPort, DPort Cond[PortRange]    // -m tcp|udp --sport, --dport; need Proto
	SYN          Cond[bool]         // -m tcp --syn: the packet opens a connection; Val is always true
	DPorts       Cond[[]PortRange]  // -m multiport --dports; needs Proto
	Mark         Cond[Mark]         // -m mark
	ConnMark     Cond[Mark]         // -m connmark
	State        Cond[States]       // -m conntrack --ctstate
	UIDs, GIDs   []Cond[IDRange]    // -m owner, one match for each; all have to hold
}

// Matches reports whether the packet meets every condition.
func (m Match) Matches(p Packet) bool {
	return m.Src.holds(func(v netip.Prefix) bool { return v.Contains(p.Src.Addr()) }) &&
		m.Dst.holds(func(v netip.Prefix) bool { return v.Contains(p.Dst.Addr()) }) &&
		m.In.holds(func(v Interface) bool { return v.Matches(p.In) }) &&
		m.Out.holds(func(v Interface) bool { return v.Matches(p.Out) }) &&
		(m.Proto == 0 || m.Proto == p.Proto) &&
		m.SPort.holds(func(v PortRange) bool { return v.Contains(p.Src.Port()) }) &&
		m.DPort.holds(func(v PortRange) bool { return v.Contains(p.Dst.Port()) }) &&
		m.SYN.holds(func(bool) bool { return p.Proto == TCP && p.SYN }) &&
		m.DPorts.holds(func(v []PortRange) bool {
			return slices.ContainsFunc(v, func(r PortRange) bool { return r.Contains(p.Dst.Port()) })
		}) &&
		m.Mark.holds(func(v Mark) bool { return v.Matches(p.Mark) }) &&
		(!m.ConnMark.Set || !p.untracked()) &&
		m.ConnMark.holds(func(v Mark) bool { return v.Matches(p.ConnMark) }) &&
		m.State.holds(func(v States) bool { return v&(p.State|p.NAT) != 0 }) &&
		ownedBy(m.UIDs, p.Owner, func(o Owner) uint32 { return o.UID }) &&
		ownedBy(m.GIDs, p.Owner, func(o Owner) uint32 { return o.GID })
}

// ownedBy evaluates owner matches as the kernel does: a packet without a socket
// has no owner, so it meets only the negated ones (net/netfilter/xt_owner.c).
func ownedBy(conds []Cond[IDRange], owner *Owner, id func(Owner) uint32) bool {
	for _, c := range conds {
		if !c.holds(func(r IDRange) bool { return owner != nil && r.Contains(id(*owner)) }) {
			return false
		}
	}
	return true
}

// A Condition is one condition of a Match in the words of iptables.
type Condition struct {
	Module string // of -m: "tcp", "owner"; "" for an option of iptables itself
	Flag   string // "-s", "--dport"
	Neg    bool
	Value  string // as iptables-save prints it
}

// Conditions returns the conditions in the order in which iptables-save prints them.
// The text of rules, pictures and inference are made of them.
func (m *Match) Conditions() iter.Seq[Condition] {
	return func(yield func(Condition) bool) {
		_ = walk(yield, "", "-s", prefixText, m.Src) &&
			walk(yield, "", "-d", prefixText, m.Dst) &&
			walk(yield, "", "-i", interfaceText, m.In) &&
			walk(yield, "", "-o", interfaceText, m.Out) &&
			walk(yield, "", "-p", Proto.String, Cond[Proto]{Val: m.Proto, Set: m.Proto != 0}) &&
			walk(yield, m.Proto.String(), "--sport", PortRange.String, m.SPort) &&
			walk(yield, m.Proto.String(), "--dport", PortRange.String, m.DPort) &&
			walk(yield, m.Proto.String(), "--tcp-flags", synText, m.SYN) &&
			walk(yield, "multiport", "--dports", portsText, m.DPorts) &&
			walk(yield, "mark", "--mark", Mark.String, m.Mark) &&
			walk(yield, "connmark", "--mark", Mark.String, m.ConnMark) &&
			walk(yield, "conntrack", "--ctstate", States.String, m.State) &&
			walkAll(yield, "owner", "--uid-owner", IDRange.String, m.UIDs) &&
			walkAll(yield, "owner", "--gid-owner", IDRange.String, m.GIDs)
	}
}

// walk yields a condition that is set, and reports whether to go on.
func walk[T any](yield func(Condition) bool, module, flag string, text func(T) string, c Cond[T]) bool {
	return !c.Set || yield(Condition{module, flag, c.Neg, text(c.Val)})
}

// walkAll is walk for several conditions of a kind.
func walkAll[T any](yield func(Condition) bool, module, flag string, text func(T) string, conds []Cond[T]) bool {
	for _, c := range conds {
		if !walk(yield, module, flag, text, c) {
			return false
		}
	}
	return true
}

// The prefixes of every address.
const everyIPv4, everyIPv6 = "0.0.0.0/0", "::/0"

// text appends the match in the kernel's canonical form.
func (m *Match) text(w *words) {
	module := ""
	for c := range m.Conditions() {
		if c.Value == everyIPv4 || c.Value == everyIPv6 {
			continue // iptables-save leaves it out
		}
		if c.Module != "" && (c.Module != module || c.Module == "owner") { // there is one for each owner
			w.add("-m", c.Module)
		}
		module = c.Module
		if c.Neg {
			w.add("!")
		}
		w.add(c.Flag, c.Value)
	}
}

func interfaceText(i Interface) string { return string(i) }

func synText(bool) string { return "FIN,SYN,RST,ACK SYN" }

func portsText(ports []PortRange) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

func prefixText(p netip.Prefix) string {
	p = p.Masked()
	return AddrText(p.Addr()) + "/" + strconv.Itoa(p.Bits())
}

// AddrText prints an address as the C library does, which is how iptables
// prints it: an IPv6 address of which exactly the first 96 bits are zero ends
// in dotted form (glibc, resolv/inet_ntop.c); netip prints it in hexadecimal.
func AddrText(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	b := a.As16()
	if slices.Max(b[:12]) == 0 && b[12]|b[13] != 0 {
		return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
	}
	return a.String()
}

// words builds the text of a rule, one space between its words.
type words struct{ b []byte }

func (w *words) add(texts ...string) {
	for _, t := range texts {
		if len(w.b) > 0 {
			w.b = append(w.b, ' ')
		}
		w.b = append(w.b, t...)
	}
}
