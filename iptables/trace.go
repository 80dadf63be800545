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
	Maybe bool
	// Matters says of such a rule that the packet would go, or may go, another way
	// if the conditions held.
	Matters bool
}

// A Walk is the way of one packet through one hook.
type Walk struct {
	Steps   []Step  // the rules that took the packet, in order
	Verdict Verdict // Accept or Drop
	Packet  Packet  // as it leaves the hook
	// Taken says that the last step gave the packet to a target that is not
	// known here, such as DNAT: where it lands is not known either.
	Taken bool
	// Uncertain says that another way is possible: a step that may have taken the
	// packet would have sent it elsewhere.
	Uncertain bool

	budget *int // rules that may still be tried
	depth  int  // chains that the packet is in
	// accepted is the packet as a rule of the table may have accepted it, which
	// comes to the same as going on when the table accepts it unchanged; nil: none.
	accepted *Packet
}

// maxTried bounds a walk in which many rules may or may not take the packet, and
// deepest one in which chains lead back to themselves: the kernel has none, but a
// file may. The kernel itself goes no deeper than 16 in nf_tables
// (net/netfilter/nf_tables.h, NFT_JUMP_STACK_SIZE).
const (
	maxTried = 1 << 20
	deepest  = 64
)

// Trace walks a packet through one hook: its tables in the order of the kernel,
// the chains of each from the built-in one. Chains that are not in the ruleset
// are empty. Only the first packet of a connection sees nat, also of one that is
// related to another, at the first hook that has it; the kernel remembers what was
// decided (net/netfilter/nf_nat_core.c, nf_nat_inet_fn).
func (rs Ruleset) Trace(p Packet) Walk { return rs.trace(p, maxTried) }

// trace is [Ruleset.Trace] that tries so many rules at the most.
func (rs Ruleset) trace(p Packet, budget int) Walk {
	w := Walk{Verdict: Accept, Packet: p, budget: &budget}
	for _, name := range TablesAt(p.Hook) {
		if name == NAT && !w.Packet.SeesNAT() {
			continue
		}
		t := rs.Table(name)
		w.accepted = nil
		verdict := w.chain(t, p.Hook)
		if policy := t.Chain(p.Hook).Policy; verdict == Return && policy == Drop {
			w.Steps = append(w.Steps, Step{Table: name, Chain: p.Hook, Index: len(t.chain(p.Hook)), Rule: Rule{Target: Drop}})
			verdict = Drop
		}
		w.Verdict = max(verdict, Accept)
		if w.accepted != nil && (w.Verdict == Drop || w.Taken || w.Packet != *w.accepted) {
			w.Uncertain = true
		}
		if w.Verdict == Drop || w.Taken {
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
	w.depth++
	defer func() { w.depth-- }()
	rules := t.chain(name)
	for i := range rules {
		if *w.budget--; *w.budget < 0 || w.depth > deepest { // nobody knows what comes then
			w.Uncertain = true
			return Return
		}
		r := &rules[i]
		if !r.Matches(w.Packet) {
			continue
		}
		step := Step{Table: t.Name, Chain: name, Index: i, Rule: *r}
		if r.Foreign != nil && len(r.Foreign.Conditions) > 0 {
			step.Maybe = true
			step.Matters = w.may(t, r)
			w.Steps = append(w.Steps, step)
			continue
		}
		w.Steps = append(w.Steps, step)
		if verdict := w.take(t, r); verdict != 0 {
			return verdict
		}
	}
	return Return
}

// take does what a rule says that took the packet. It returns the verdict that
// ends the chain; zero when the walk goes on with the next rule.
func (w *Walk) take(t Table, r *Rule) Verdict {
	if r.Target == nil {
		switch r.Foreign.Effect() {
		case Accepts:
			return Accept
		case Drops:
			return Drop
		case TakesAway:
			w.Taken = true
			return Accept
		case GoesOn:
		}
		return 0
	}
	n := r.Target.act(&w.Packet)
	if n.jump == "" {
		return n.verdict
	}
	verdict := w.chain(t, n.jump)
	if verdict == Return && !n.leaves {
		return 0
	}
	return verdict
}

// may notes what becomes of the packet if a rule takes it that may: the walk is
// tried with it. It reports whether that is another way, or can turn out to be one.
func (w *Walk) may(t Table, r *Rule) (matters bool) {
	try := Walk{Packet: w.Packet, budget: w.budget, depth: w.depth}
	verdict := try.take(t, r)
	switch {
	case try.Taken || try.Uncertain || try.Packet != w.Packet || verdict != 0 && verdict != Accept:
		w.Uncertain = true
	case verdict == 0 && try.accepted == nil:
		return false
	case w.accepted == nil:
		before := w.Packet
		w.accepted = &before
	}
	return true
}
