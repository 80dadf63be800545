package iptables

import (
	"fmt"
	"net/netip"
	"strconv"

	"istio-init/netutil/inet"
)

// A Target is what a rule does with the packets it takes. The set is closed.
type Target interface {
	text(w *words, f inet.Family)
	// legalIn reports whether the kernel accepts the target in a table.
	legalIn(table string) bool
	// legalAt returns the built-in chains from which it may be reached.
	legalAt() []string
	// act changes the packet as the kernel does and tells what comes next.
	act(p *Packet) next
}

// Jump continues in a chain of the same table, and after the rule when that
// chain ends without a verdict.
type Jump struct{ Chain string }

// Goto continues in a chain of the same table, and when that chain ends without a
// verdict, after the rule that jumped to the chain of this one.
type Goto struct{ Chain string }

// nextChain returns the chain in which a target continues, if it does.
func nextChain(t Target) (chain string, ok bool) {
	switch t := t.(type) {
	case Jump:
		return t.Chain, true
	case Goto:
		return t.Chain, true
	}
	return "", false
}

// nonTerminating are the targets, known here or not, after which a packet goes on
// to the next rule (iptables-extensions(8)).
var nonTerminating = []string{
	"LOG", "NFLOG", "MARK", "CONNMARK", "CT", "NOTRACK", "TRACE", "SECMARK", "CONNSECMARK", "TOS", "DSCP", "TTL", "HL",
	"CLASSIFY", "TCPMSS", "CHECKSUM", "SET", "AUDIT", "IDLETIMER", "LED", "RATEEST", "TCPOPTSTRIP", "TEE", "ULOG", "ECN", "HMARK",
}

// Terminates reports whether a packet does not go on to the next rule after a
// target, except by returning from a chain. A nil target does nothing.
func Terminates(t Target) bool {
	switch t.(type) {
	case nil, SetMark, SaveMark, RestoreMark, Zone:
		return false
	}
	return true
}

// A Verdict ends something: the chain or the way of the packet.
type Verdict uint8

// The verdicts. Return ends the chain; in a built-in chain it applies the policy.
const (
	Return Verdict = iota + 1
	Accept
	Drop
)

// Redirect sends the connection to a port of this machine: to the loopback
// address when it began here, else to the address of the interface it came in
// by (iptables-extensions(8), REDIRECT). The destination stays readable as
// SO_ORIGINAL_DST. Only for TCP and UDP, only in nat.
type Redirect struct{ Port uint16 }

// TProxy hands the packet to the socket that listens on a port of this machine,
// without changing its destination, and sets a mark for policy routing. Only in
// mangle PREROUTING.
type TProxy struct {
	Port uint16
	Mark Mark
}

// SetMark sets those bits of the packet's mark that the mask names.
type SetMark struct{ Mark Mark }

// SaveMark copies the packet's mark to its connection.
type SaveMark struct{}

// RestoreMark copies the connection's mark to the packet.
type RestoreMark struct{}

// Zone puts the packet's connection into a conntrack zone, apart from equal
// addresses and ports in another. Only in raw.
type Zone struct {
	ID uint16
	// Original says that only the original direction is in the zone, and the
	// reply direction in zone 0 (net/netfilter/nf_conntrack_zones.h). Linux 4.3.
	Original bool
}

func (t Jump) text(w *words, _ inet.Family)    { w.add("-j", t.Chain) }
func (t Goto) text(w *words, _ inet.Family)    { w.add("-g", t.Chain) }
func (v Verdict) text(w *words, _ inet.Family) { w.add("-j", v.String()) }
func (t Redirect) text(w *words, _ inet.Family) {
	w.add("-j", "REDIRECT", "--to-ports", strconv.Itoa(int(t.Port)))
}

func (t Zone) text(w *words, _ inet.Family) {
	option := "--zone"
	if t.Original {
		option = "--zone-orig"
	}
	w.add("-j", "CT", option, strconv.Itoa(int(t.ID)))
}

func (SaveMark) text(w *words, _ inet.Family) { w.add("-j", "CONNMARK", "--save-mark", fullNFMask) }
func (RestoreMark) text(w *words, _ inet.Family) {
	w.add("-j", "CONNMARK", "--restore-mark", fullNFMask)
}

func (t SetMark) text(w *words, _ inet.Family) {
	w.add("-j", "MARK", "--set-xmark", xmarkText(t.Mark))
}

func (t TProxy) text(w *words, f inet.Family) {
	w.add("-j", "TPROXY", "--on-port", strconv.Itoa(int(t.Port)),
		"--on-ip", f.Any().String(), "--tproxy-mark", xmarkText(t.Mark))
}

const fullNFMask = "--nfmask 0xffffffff --ctmask 0xffffffff"

// xmarkText prints a mark to be set; unlike in a match the mask is always there.
func xmarkText(m Mark) string { return fmt.Sprintf("%#x/%#x", m.Value, m.Mask) }

// String returns the name iptables prints.
func (v Verdict) String() string {
	switch v {
	case Return:
		return "RETURN"
	case Accept:
		return "ACCEPT"
	case Drop:
		return "DROP"
	}
	return "Verdict(" + strconv.Itoa(int(v)) + ")"
}

func (Jump) legalIn(string) bool           { return true }
func (Goto) legalIn(string) bool           { return true }
func (SaveMark) legalIn(string) bool       { return true }
func (Redirect) legalIn(table string) bool { return table == NAT }
func (TProxy) legalIn(table string) bool   { return table == Mangle }
func (SetMark) legalIn(table string) bool  { return table == Mangle }
func (RestoreMark) legalIn(string) bool    { return true }
func (Zone) legalIn(table string) bool     { return table == Raw }

// legalIn knows that nat is no place to drop packets: it sees only the first one
// of a connection, and iptables refuses it.
func (v Verdict) legalIn(table string) bool {
	return v >= Return && v <= Drop && (v != Drop || table != NAT)
}

func (Jump) legalAt() []string        { return Hooks }
func (Goto) legalAt() []string        { return Hooks }
func (Verdict) legalAt() []string     { return Hooks }
func (Redirect) legalAt() []string    { return []string{Prerouting, Output} }
func (TProxy) legalAt() []string      { return []string{Prerouting} }
func (SetMark) legalAt() []string     { return Hooks }
func (SaveMark) legalAt() []string    { return Hooks }
func (RestoreMark) legalAt() []string { return Hooks }
func (Zone) legalAt() []string        { return []string{Prerouting, Output} }

func (t Jump) act(*Packet) next      { return next{jump: t.Chain} }
func (t Goto) act(*Packet) next      { return next{jump: t.Chain, leaves: true} }
func (v Verdict) act(*Packet) next   { return next{verdict: v} }
func (t SetMark) act(p *Packet) next { p.Mark = setBits(p.Mark, t.Mark); return next{} }
func (SaveMark) act(p *Packet) next  { return saveBits{1<<32 - 1, 1<<32 - 1}.act(p) }
func (RestoreMark) act(p *Packet) next {
	return restoreBits{1<<32 - 1, 1<<32 - 1}.act(p)
}

// act gives the packet a template of a connection, which is NEW to later rules of raw. What is
// set stays (net/netfilter/xt_CT.c, xt_ct_target).
func (t Zone) act(p *Packet) next {
	if p.Zone == 0 && !p.NATDone && p.State != Untracked {
		p.Zone, p.State = t.ID, New
	}
	return next{}
}

// act sends what began here to the loopback address; what came in keeps its
// address, since which one its interface has is not known here.
func (t Redirect) act(p *Packet) next {
	p.RedirectedTo = t.Port
	addr := p.Dst.Addr()
	if p.Hook == Output {
		addr = inet.Of(addr).Localhost()
	}
	p.sendTo(netip.AddrPortFrom(addr, t.Port))
	return next{verdict: Accept}
}

func (t TProxy) act(p *Packet) next {
	p.Mark = setBits(p.Mark, t.Mark)
	p.TProxiedTo = t.Port
	return next{verdict: Accept}
}

// setBits is what --set-xmark and --tproxy-mark do: clear the bits of the mask,
// then flip those of the value.
func setBits(mark uint32, m Mark) uint32 { return mark&^m.Mask ^ m.Value }
