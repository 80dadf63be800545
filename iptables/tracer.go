package iptables

import "net/netip"

// A Tracer walks packets through the rules of a family. It finds a chain without a look at
// the others, and all its walks together take a bounded number of steps.
type Tracer struct {
	// Local reports whether an address is this machine's own; nil: that is not known.
	Local func(netip.Addr) bool

	tables map[string]map[string]*Chain
	budget int
}

// The bounds of a tracer: the rules that are tried, of which one that takes the packet
// counts as many; and how deep a walk goes into chains that lead back to themselves: the
// kernel has none, but a file may. The kernel itself goes no deeper than 16 in nf_tables
// (net/netfilter/nf_tables.h, NFT_JUMP_STACK_SIZE).
const (
	maxTried  = 1 << 21
	takenCost = 64
	deepest   = 64
)

// NewTracer returns a tracer of rules, which may not change while it is used.
func NewTracer(rs Ruleset) *Tracer {
	t := &Tracer{tables: make(map[string]map[string]*Chain, len(rs.Tables)), budget: maxTried}
	for i := range rs.Tables {
		chains := make(map[string]*Chain, len(rs.Tables[i].Chains))
		for j := range rs.Tables[i].Chains {
			if c := &rs.Tables[i].Chains[j]; chains[c.Name] == nil {
				chains[c.Name] = c
			}
		}
		if name := rs.Tables[i].Name; t.tables[name] == nil {
			t.tables[name] = chains
		}
	}
	return t
}

// spend takes steps from the budget; ok is false when it is used up.
func (w *Walk) spend(steps int) (ok bool) {
	w.tracer.budget -= steps
	if w.tracer.budget < 0 || w.depth > deepest { // nobody knows what comes then
		w.Uncertain, w.BrokenOff = true, true
	}
	return !w.BrokenOff
}

// Trace is [Ruleset.Trace].
func (t *Tracer) Trace(p Packet) Walk {
	w := Walk{Verdict: Accept, Packet: p, tracer: t}
	for _, name := range TablesAt(p.Hook) {
		before := w.Packet
		verdict := Accept
		switch {
		case name != NAT || w.Packet.SeesNAT():
			verdict = w.table(name)
		case w.Packet.NATed == nil:
			continue
		default:
			w.accepted = nil
			w.Packet.translate()
		}
		if w.BrokenOff {
			break
		}
		if c := t.tables[name][p.Hook]; verdict == Return && c != nil && c.Policy == Drop {
			w.Steps = append(w.Steps, Step{Table: name, Chain: p.Hook, Index: len(c.Rules), Rule: Rule{Target: Drop}})
			verdict = Drop
		}
		w.Verdict = max(verdict, Accept)
		if w.accepted != nil && (w.Verdict == Drop || w.Taken || w.Packet != *w.accepted) {
			w.Uncertain = true
		}
		if w.Verdict == Drop || w.Taken {
			break
		}
		if p.Hook == Output && (name == Mangle && w.Packet.Mark != before.Mark || name == NAT && w.Packet.Dst.Addr() != before.Dst.Addr()) {
			w.Reroutes = append(w.Reroutes, w.Packet)
		}
	}
	if p.Hook == Output && w.Packet.RedirectedTo != 0 {
		w.Packet.Out = "lo" // routed anew behind the hook; its other tables still see the old one
	}
	return w
}

// table walks one table, as conntrack lets it see the packet: raw comes before conntrack,
// so that a packet that was not here before has no connection there (xt_conntrack calls
// that INVALID).
func (w *Walk) table(name string) Verdict {
	w.accepted = nil
	if name != Raw || w.Packet.NATDone {
		return w.chain(name, w.Packet.Hook)
	}
	state, changed := w.Packet.State, w.Packet.NAT
	w.Packet.State, w.Packet.NAT = Invalid, 0
	verdict := w.chain(name, w.Packet.Hook)
	for _, p := range []*Packet{&w.Packet, w.accepted} {
		if p != nil && p.State != Untracked {
			p.State, p.NAT = state, changed
		}
	}
	return verdict
}

// chain walks one chain and returns the verdict that ends the table, or Return
// when the chain ended without one.
func (w *Walk) chain(table, name string) Verdict {
	c := w.tracer.tables[table][name]
	if c == nil {
		return Return
	}
	w.depth++
	defer func() { w.depth-- }()
	for i := range c.Rules {
		if !w.spend(1) {
			return Return
		}
		r := &c.Rules[i]
		matches, unknown := w.matches(r)
		if !matches {
			continue
		}
		if !w.spend(takenCost) {
			return Return
		}
		step := Step{Table: table, Chain: name, Index: i, Rule: *r}
		if len(unknown) > 0 {
			step.Maybe, step.Unknown = true, unknown
			step.Matters = w.may(table, r)
			w.Steps = append(w.Steps, step)
			continue
		}
		at, before := len(w.Steps), w.Packet
		w.Steps = append(w.Steps, step)
		verdict, understood := w.take(table, r)
		if _, jumps := nextChain(r.Target); !jumps {
			w.Steps[at].changed(before, w.Packet)
		}
		if !understood {
			w.Uncertain, w.Steps[at].Matters = true, true
		}
		if verdict != 0 {
			return verdict
		}
	}
	return Return
}

// take does what a rule says that took the packet. It returns the verdict that
// ends the chain; zero when the walk goes on with the next rule.
func (w *Walk) take(table string, r *Rule) (verdict Verdict, understood bool) {
	var target actor = r.Target
	if r.Target == nil {
		if target = r.Foreign.acts(w.Packet); target == nil {
			return w.takeUnknown(r.Foreign)
		}
	}
	_, zone := target.(Zone)
	n := target.act(&w.Packet)
	if n.jump == "" { // whether the answer is in a zone of others is not known
		return n.verdict, !zone || r.Role != 0 || w.Packet.NATDone
	}
	verdict = w.chain(table, n.jump)
	if verdict == Return && !n.leaves {
		return 0, true
	}
	return verdict, true
}

// takeUnknown does what the name of a target says.
func (w *Walk) takeUnknown(f *Foreign) (verdict Verdict, understood bool) {
	switch f.Effect() {
	case Accepts:
		return Accept, true
	case Drops:
		return Drop, true
	case TakesAway:
		w.Taken = true
		return Accept, true
	case GoesOn:
	}
	return 0, !f.alters(w.Packet.Hook)
}

// may notes what becomes of the packet if a rule takes it that may: the walk is
// tried with it. It reports whether that is another way, or can turn out to be one.
func (w *Walk) may(table string, r *Rule) (matters bool) {
	try := Walk{Packet: w.Packet, tracer: w.tracer, depth: w.depth}
	verdict, understood := try.take(table, r)
	w.BrokenOff = w.BrokenOff || try.BrokenOff
	switch {
	case !understood, try.Taken || try.Uncertain || try.Packet != w.Packet || verdict != 0 && verdict != Accept:
		w.Uncertain = true
	case verdict == 0 && try.accepted == nil:
		return false
	case w.accepted == nil:
		before := w.Packet
		w.accepted = &before
	}
	return true
}

// matches reports whether a rule matches the packet, or may where conditions are unknown.
func (w *Walk) matches(r *Rule) (matches bool, unknown []string) {
	m, unknown := w.withoutUnknown(r)
	if !m.Matches(w.Packet) {
		return false, nil
	}
	if r.Foreign == nil {
		return true, unknown
	}
	for _, c := range r.Foreign.Conditions {
		switch holds, known := w.holds(c); {
		case !known:
			unknown = append(unknown, c)
		case !holds:
			return false, nil
		}
	}
	return true, unknown
}

// ephemeral are the ports from which the kernel picks one
// (Documentation/networking/ip-sysctl.rst, ip_local_port_range).
var ephemeral = PortRange{32768, 60999}

// withoutUnknown leaves out conditions on what is not known of the packet.
func (w *Walk) withoutUnknown(r *Rule) (known *Match, unknown []string) {
	p, m := &w.Packet, &r.Match
	src, dst := p.SrcUnknown && m.Src.Set, p.DstUnknown && m.Dst.Set
	foreign := r.Role == 0 // of a mesh's own rules, the assumption is good enough
	sport := foreign && p.AnySrcPort && m.SPort.Set && m.SPort.Val.dividesEphemeral()
	dport := foreign && p.AnyDstPort && m.DPort.Set && m.DPort.Val.dividesEphemeral()
	owner := foreign && p.AnyOwner && len(m.UIDs)+len(m.GIDs) > 0
	if !src && !dst && !sport && !dport && !owner {
		return m, nil
	}
	some := *m
	if src {
		some.Src, unknown = Cond[netip.Prefix]{}, append(unknown, "-s "+prefixText(m.Src.Val))
	}
	if dst {
		some.Dst, unknown = Cond[netip.Prefix]{}, append(unknown, "-d "+prefixText(m.Dst.Val))
	}
	if sport {
		some.SPort, unknown = Cond[PortRange]{}, append(unknown, "--sport "+m.SPort.Val.String())
	}
	if dport {
		some.DPort, unknown = Cond[PortRange]{}, append(unknown, "--dport "+m.DPort.Val.String())
	}
	if owner {
		some.UIDs, some.GIDs, unknown = nil, nil, append(unknown, "-m owner")
	}
	return &some, unknown
}

// dividesEphemeral reports whether the range has some of the ephemeral ports, and not all.
func (r PortRange) dividesEphemeral() bool {
	return r.Lo <= ephemeral.Hi && r.Hi >= ephemeral.Lo && (r.Lo > ephemeral.Lo || r.Hi < ephemeral.Hi)
}
