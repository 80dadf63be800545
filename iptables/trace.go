package iptables

import (
	"net/netip"
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
	// AnySrcPort says that the port of Src stands for any that the kernel picks, AnyDstPort that
	// of Dst, and AnyOwner that a process has sent it that is not known.
	AnySrcPort, AnyDstPort, AnyOwner bool
	SYN                              bool   // TCP: the packet opens a connection
	State                            States // one state; a packet that begins a connection is New
	Mark                             uint32
	ConnMark                         uint32
	Owner                            *Owner
	// NATDone says that nat has decided on the connection already: the packet
	// comes back by the loopback interface.
	NATDone bool
	// ToApp says that the socket for the packet is one of an app, which is not transparent.
	ToApp bool
	// NATed is what nat makes of the addresses of a later packet of a connection, in either
	// direction; nil: it leaves them.
	NATed *Addresses

	// What the rules decided; set by Trace.
	Zone         uint16 // conntrack zone
	RedirectedTo uint16 // port of a REDIRECT that took the packet
	TProxiedTo   uint16 // port of a TPROXY that took the packet
	DNATed       bool   // a DNAT took the packet: Dst is where it sends it
	SrcUnknown   bool   // the source was changed to an address that is not known here
	DstUnknown   bool   // the packet is an answer to such a one
	NAT          States // SNAT and DNAT, where an address or a port was changed
}

// Addresses are the source and the destination of a packet.
type Addresses struct{ Src, Dst netip.AddrPort }

// translate changes the addresses as nat does for later packets: the destination at the hooks
// at which it decides on that, and the source at the others (net/netfilter/nf_nat_core.c,
// nf_nat_packet).
func (p *Packet) translate() {
	switch {
	case p.NATed == nil || p.untracked():
	case p.Hook == Prerouting || p.Hook == Output:
		p.Dst, p.DstUnknown = p.NATed.Dst, false
	default:
		p.Src = p.NATed.Src
	}
}

// untracked reports whether conntrack has no connection for the packet: then no rule for
// connection marks matches or sets one (net/netfilter/xt_connmark.c).
func (p Packet) untracked() bool { return p.State&(Invalid|Untracked) != 0 }

// SeesNAT reports whether nat decides about the packet: only about the first one of a
// connection, also of one that is related to another, at the first hook that has it.
func (p Packet) SeesNAT() bool { return !p.NATDone && p.State&(New|Related) != 0 }

// next is what a target asks for: go on, jump, or end with a verdict.
type next struct {
	jump    string
	leaves  bool // the jump does not come back
	verdict Verdict
}

// A Step is a rule that took the packet, or may have.
type Step struct {
	Table, Chain string
	Index        int // of the rule in its chain, from 0; that of the policy is behind the last
	Rule         Rule
	// Maybe says that the rule has conditions that are not known here. The walk
	// goes on as if they did not hold.
	Maybe   bool
	Unknown []string // those conditions, as iptables prints them
	// Matters says of such a rule that the packet would go, or may go, another way
	// if the conditions held.
	Matters bool
	// Sends says that the rule changed where the packet goes, Marks that it changed its mark,
	// and Untracks that it took its connection from conntrack.
	Sends, Marks, Untracks bool
}

// changed reports what a rule did to a packet.
func (s *Step) changed(before, after Packet) {
	s.Sends = before.RedirectedTo != after.RedirectedTo || before.TProxiedTo != after.TProxiedTo || before.DNATed != after.DNATed
	s.Marks = before.Mark != after.Mark
	s.Untracks = before.State != after.State && after.State == Untracked
}

// A Walk is the way of one packet through one hook.
type Walk struct {
	Steps   []Step  // the rules that took the packet, in order
	Verdict Verdict // Accept or Drop
	Packet  Packet  // as it leaves the hook
	// Reroutes is the packet as it was each time that the hook routed it anew: at OUTPUT, where
	// mangle changed its mark, or nat the address of its destination
	// (net/ipv4/netfilter/iptable_mangle.c, ipt_mangle_out; net/netfilter/nf_nat_proto.c,
	// nf_nat_ipv4_local_fn).
	Reroutes []Packet
	// Taken says that the last step gave the packet to a target that is not
	// known here: where it lands is not known either.
	Taken bool
	// Uncertain says that another way is possible: a step that may have taken the
	// packet would have sent it elsewhere.
	Uncertain bool
	// BrokenOff says that the walk took more steps than there may be, or led too deep.
	BrokenOff bool

	tracer *Tracer
	depth  int // chains that the packet is in
	// accepted is the packet as a rule of the table may have accepted it, which
	// comes to the same as going on when the table accepts it unchanged; nil: none.
	accepted *Packet
}

// Trace walks a packet through one hook: its tables in the order of the kernel,
// the chains of each from the built-in one. Chains that are not in the ruleset
// are empty. Only the first packet of a connection sees nat, also of one that is
// related to another, at the first hook that has it; the kernel remembers what was
// decided (net/netfilter/nf_nat_core.c, nf_nat_inet_fn).
func (rs Ruleset) Trace(p Packet) Walk { return NewTracer(rs).Trace(p) }

// TraceSent walks a packet that a socket of this machine sends through Output, and
// where it is for this machine, in again through Prerouting by the loopback
// interface. The packet is as it is at Output.
func (rs Ruleset) TraceSent(p Packet) Walk {
	t := NewTracer(rs)
	p.Hook = Output
	out := t.Trace(p)
	if out.Verdict != Accept || out.Packet.Out != "lo" {
		return out
	}
	p = out.Packet
	p.Hook, p.In, p.Out, p.Owner, p.NATDone = Prerouting, "lo", "", nil, true
	in := t.Trace(p)
	in.Steps = append(out.Steps, in.Steps...)
	return in
}
