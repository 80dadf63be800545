package iptables

import (
	"net/netip"
	"slices"
)

// An Owner is the process side of a packet that a local socket sent.
type Owner struct{ UID, GID uint32 }

// A Packet is what the rules see of a packet at one hook. The zero values mean:
// no interface, no mark, zone 0, no local socket.
type Packet struct {
	Hook     string // Prerouting or Output
	In, Out  string // interface names
	Proto    Proto
	Src, Dst netip.AddrPort
	SYN      bool   // TCP: the packet opens a connection
	State    States // one state; a packet that begins a connection is New
	Mark     uint32
	ConnMark uint32
	Owner    *Owner
	// NATDone says that nat has decided on the connection already: the packet
	// comes back by the loopback interface.
	NATDone bool

	// What the rules decided; set by Trace.
	Zone         uint16 // conntrack zone
	RedirectedTo uint16 // port of a REDIRECT that took the packet
	TProxiedTo   uint16 // port of a TPROXY that took the packet
}

// next is what a target asks for: go on, jump, or end with a verdict.
type next struct {
	jump    string
	verdict Verdict
}

// A Step is a rule that took the packet.
type Step struct {
	Table, Chain string
	Index        int // of the rule in its chain, from 0
	Rule         Rule
}

// A Walk is the way of one packet through one hook.
type Walk struct {
	Steps   []Step  // the rules that took the packet, in order
	Verdict Verdict // Accept or Drop
	Packet  Packet  // as it leaves the hook
}

// Trace walks a packet through one hook: its tables in the order of the kernel,
// the chains of each from the built-in one. Chains that are not in the ruleset
// are empty, policies are ACCEPT. Only the first packet of a connection sees nat,
// at the first hook that has it; the kernel remembers what was decided.
func (rs Ruleset) Trace(p Packet) Walk {
	w := Walk{Verdict: Accept, Packet: p}
	for _, b := range builtins {
		if !slices.Contains(b.chains, p.Hook) || b.table == NAT && (p.NATDone || p.State != New) {
			continue
		}
		t := rs.table(b.table)
		if w.chain(t, p.Hook) == Drop {
			w.Verdict = Drop
			break
		}
	}
	if p.Hook == Output && w.Packet.RedirectedTo != 0 {
		w.Packet.Out = "lo" // routed anew behind the hook; its other tables still see the old one
	}
	return w
}

// TraceSent walks a packet that a socket of this machine sends through Output, and
// where it is for this machine, in again through Prerouting by the loopback
// interface. The packet is as it is at Output.
func (rs Ruleset) TraceSent(p Packet) Walk {
	p.Hook = Output
	out := rs.Trace(p)
	if out.Verdict != Accept || out.Packet.Out != "lo" {
		return out
	}
	p = out.Packet
	p.Hook, p.In, p.Out, p.Owner, p.NATDone = Prerouting, "lo", "", nil, true
	in := rs.Trace(p)
	in.Steps = append(out.Steps, in.Steps...)
	return in
}

// chain walks one chain and returns the verdict that ends the table, or Return
// when the chain ended without one.
func (w *Walk) chain(t Table, name string) Verdict {
	for i, r := range t.chain(name) {
		if !r.Matches(w.Packet) {
			continue
		}
		w.Steps = append(w.Steps, Step{Table: t.Name, Chain: name, Index: i, Rule: r})
		n := r.Target.act(&w.Packet)
		if n.jump != "" {
			n.verdict = w.chain(t, n.jump)
			if n.verdict == Return {
				continue
			}
		}
		if n.verdict != 0 {
			return n.verdict
		}
	}
	return Return
}
