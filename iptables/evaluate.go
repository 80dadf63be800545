package iptables

import (
	"net/netip"
	"slices"
	"strings"
)

// holds evaluates a condition of a foreign rule that [Match] does not have. That is a second
// one of a kind, of a protocol that a packet does not have, or of the type of an address.
func (w *Walk) holds(condition string) (holds, known bool) {
	words := strings.Fields(condition)
	if len(words) == 3 && words[0] == "!" && words[1] == "-p" {
		return words[2] != w.Packet.Proto.String(), words[2] == TCP.String() || words[2] == UDP.String()
	}
	if condition == "-m socket --transparent" {
		return false, w.Packet.ToApp
	}
	if addr, neg, ok := w.addrOfType(words); ok {
		if w.tracer.Local == nil || !addr.IsValid() {
			return false, false
		}
		return w.tracer.Local(addr) != neg, true
	}
	p := ruleParser{words: words}
	p.rule.Proto = w.Packet.Proto
	for len(p.words) > 0 && p.err == nil {
		p.option()
	}
	if p.err != nil || p.module == "" {
		return false, false
	}
	return p.rule.Matches(w.Packet), !p.rule.Src.Set
}

// addrOfType returns the address that a condition asks whether it is this machine's own,
// as in "-m addrtype ! --dst-type LOCAL".
func (w *Walk) addrOfType(words []string) (a netip.Addr, neg, ok bool) {
	if len(words) < 4 || words[0] != "-m" || words[1] != "addrtype" {
		return a, false, false
	}
	words = words[2:]
	if neg = words[0] == "!"; neg {
		words = words[1:]
	}
	if len(words) != 2 || words[1] != "LOCAL" {
		return a, neg, false
	}
	switch words[0] {
	case "--dst-type":
		if w.Packet.DstUnknown {
			return netip.Addr{}, neg, true
		}
		return w.Packet.Dst.Addr(), neg, true
	case "--src-type":
		if w.Packet.SrcUnknown {
			return netip.Addr{}, neg, true
		}
		return w.Packet.Src.Addr(), neg, true
	}
	return a, neg, false
}

// acts returns the target of a foreign rule where its text says all of what it does to a
// packet; nil where it does not.
func (f *Foreign) acts(p Packet) actor {
	if f == nil || f.Target == "" {
		return nil
	}
	words := strings.Fields(f.Target)
	name, options := words[0], words[1:]
	switch name {
	case "NOTRACK":
		return noTrack{}
	case "CT":
		if slices.Equal(options, []string{"--notrack"}) {
			return noTrack{}
		}
	case "DNAT":
		if to, ok := natAddress(options, "--to-destination"); ok {
			return dnat{to}
		}
	case "SNAT":
		if to, ok := natAddress(options, "--to-source"); ok {
			return snat{to}
		}
		return snat{}
	case "MASQUERADE":
		return snat{}
	case "REDIRECT":
		if len(options) == 0 {
			return Redirect{Port: p.Dst.Port()}
		}
	case "CONNMARK":
		if t := connMarkTarget(options); t != nil {
			return t
		}
	}
	return nil
}

// untracks reports whether the target takes the packet's connection from conntrack, so that
// nat does not see the packet.
func (f *Foreign) untracks() bool { return f.acts(Packet{}) == noTrack{} }

// alters reports whether the target of a foreign rule changes, in a way that is not known here,
// what other rules, conntrack or the route of a packet depend on.
func (f *Foreign) alters(hook string) bool {
	if f == nil {
		return false
	}
	name, options, _ := strings.Cut(f.Target, " ")
	switch name {
	case "MARK", "CONNMARK", "HMARK", "CT":
		return true
	case "TOS", "DSCP": // a policy rule may ask for it
		return hook == Prerouting || hook == Output
	case "SET":
		return strings.Contains(options, "--map-mark")
	}
	return false
}

// natAddress reads an address, with a port or without, of an option of SNAT or DNAT. Where
// it is a range, the kernel chooses.
func natAddress(options []string, name string) (netip.AddrPort, bool) {
	if len(options) < 2 || options[0] != name || slices.Contains(options, "--random") {
		return netip.AddrPort{}, false
	}
	if a, err := netip.ParseAddr(options[1]); err == nil {
		return netip.AddrPortFrom(a, 0), true
	}
	to, err := netip.ParseAddrPort(options[1])
	return to, err == nil
}

// connMarkTarget reads a CONNMARK with masks; nil where that is not one.
func connMarkTarget(options []string) actor {
	if len(options) == 2 && options[0] == "--set-xmark" {
		if m, err := parseMark(options[1]); err == nil {
			return setConnMark{m}
		}
	}
	if len(options) != 5 || options[1] != "--nfmask" || options[3] != "--ctmask" {
		return nil
	}
	nf, err1 := parseMark(options[2])
	ct, err2 := parseMark(options[4])
	if err1 != nil || err2 != nil {
		return nil
	}
	switch options[0] {
	case "--save-mark":
		return saveBits{nf.Value, ct.Value}
	case "--restore-mark":
		return restoreBits{nf.Value, ct.Value}
	}
	return nil
}

// An actor changes a packet as the kernel does: a [Target], or one of a foreign rule.
type actor interface{ act(p *Packet) next }

// Targets of foreign rules.
type (
	noTrack     struct{}
	dnat        struct{ to netip.AddrPort } // port 0: it stays
	snat        struct{ to netip.AddrPort } // no address: not known here
	setConnMark struct{ mark Mark }
	saveBits    struct{ nf, ct uint32 }
	restoreBits struct{ nf, ct uint32 }
)

// act leaves a packet alone that has a connection, since it comes in again by the loopback
// interface, or that another rule gave a zone (net/netfilter/xt_CT.c, notrack_tg).
func (noTrack) act(p *Packet) next {
	if !p.NATDone && p.Zone == 0 {
		p.State = Untracked
	}
	return next{}
}

func (t dnat) act(p *Packet) next {
	p.sendTo(t.to)
	p.DNATed = true
	return next{verdict: Accept}
}

func (t snat) act(p *Packet) next {
	before := p.Src
	switch {
	case !t.to.IsValid():
		p.SrcUnknown = true
	case t.to.Port() == 0:
		p.Src = netip.AddrPortFrom(t.to.Addr(), p.Src.Port())
	default:
		p.Src = t.to
	}
	if p.SrcUnknown || p.Src != before {
		p.NAT |= SNAT
	}
	return next{verdict: Accept}
}

func (t setConnMark) act(p *Packet) next {
	if !p.untracked() {
		p.ConnMark = setBits(p.ConnMark, t.mark)
	}
	return next{}
}

func (t saveBits) act(p *Packet) next {
	if !p.untracked() {
		p.ConnMark = p.ConnMark&^t.ct ^ p.Mark&t.nf
	}
	return next{}
}

func (t restoreBits) act(p *Packet) next {
	if !p.untracked() {
		p.Mark = p.Mark&^t.nf ^ p.ConnMark&t.ct
	}
	return next{}
}

// sendTo changes the destination: port 0 stays.
func (p *Packet) sendTo(to netip.AddrPort) {
	if to.Port() == 0 {
		to = netip.AddrPortFrom(to.Addr(), p.Dst.Port())
	}
	if to != p.Dst {
		p.NAT |= DNAT
	}
	p.Dst = to
}
