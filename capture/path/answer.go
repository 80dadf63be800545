package path

import (
	"slices"

	"istio-init/iptables"
)

// A Lost is a packet of a connection. The zero value is the first one.
type Lost uint8

// The other packets that are followed.
const (
	Answer Lost = iota + 1 // to the first one
	Later                  // of the one that opens the connection
)

// answers follows the packets behind the first one of a connection that has landed: the
// answer, which comes back through the hooks, and of TCP the next packet, which completes the
// connection. Where one of them is dropped, so is the connection.
func (e evaluator) answers(hop *Hop, first, landed iptables.Packet) {
	if landed.Dst.Addr().IsMulticast() { // who answers does so from an address of its own
		return
	}
	if hop.State != iptables.New || slices.Contains([]Outcome{Dropped, NoRoute, Unknown, Continues}, hop.Outcome) {
		return
	}
	answer, later := first, first
	answer.Src, answer.Dst, answer.DstUnknown = landed.Dst, landed.Src, landed.SrcUnknown
	answer.AnySrcPort, answer.AnyDstPort, answer.Owner, answer.Mark = false, first.AnySrcPort, nil, 0
	answer.ToApp = hop.Who == "app"
	answer.NATed = &iptables.Addresses{Src: first.Dst, Dst: first.Src}
	later.NATed = &iptables.Addresses{Src: landed.Src, Dst: landed.Dst}
	for _, p := range []*iptables.Packet{&answer, &later} {
		p.State, p.NAT, p.ConnMark, p.SYN = iptables.Established, landed.NAT, landed.ConnMark, false
	}
	later.RedirectedTo = landed.RedirectedTo
	if landed.State == iptables.Untracked { // conntrack sees nothing but the answer
		answer.State, later.State, answer.NATed, later.NATed, answer.ConnMark, later.ConnMark = iptables.New, iptables.Invalid, nil, nil, 0, 0
		if first.Proto == iptables.TCP {
			answer.State = iptables.Invalid
		}
	}
	mark := e.answer(hop, answer, first, landed)
	switch {
	case first.Proto != iptables.TCP:
		return
	case landed.State != iptables.Untracked:
		later.ConnMark = mark
		e.later(hop, later)
		return
	}
	// What is tracked of it later is taken up in its middle (nf_conntrack_tcp_loose).
	answer.State, later.State = iptables.New, iptables.New
	if p := e.later(hop, later); p.State != iptables.Untracked || landed.TProxiedTo != 0 {
		hop.Caveats = append(hop.Caveats, Caveat{Cause: UnknownTarget, Step: untracking(hop)})
		return
	}
	complete := *hop // before an answer is tracked
	e.answer(hop, answer, first, landed)
	if hop.Outcome != complete.Outcome && !captured(hop.Behind) {
		*hop = complete
		hop.Caveats = append(hop.Caveats, Caveat{Cause: UnknownTarget, Step: untracking(hop)})
	}
}

// captured reports whether a packet came through its hooks, and a rule sent it to a local port.
func captured(hooks []HookTrace) bool {
	if len(hooks) == 0 {
		return false
	}
	last := hooks[len(hooks)-1]
	return last.Verdict == iptables.Accept && (last.Packet.RedirectedTo != 0 || last.Packet.TProxiedTo != 0)
}

// answer follows the answer to a packet that has landed. It returns the mark that the connection
// has then.
func (e evaluator) answer(hop *Hop, p, first, landed iptables.Packet) (connMark uint32) {
	back := &Hop{Who: hop.Who}
	if hop.Captured && hop.Outcome != Elsewhere || e.isLocal(landed.Dst) {
		p.Owner, p.AnyOwner = &iptables.Owner{UID: appID, GID: appID}, true
		if hop.Outcome == Outbound || hop.Outcome == Inbound || hop.Outcome == DNS {
			p.Owner, p.AnyOwner = &e.network.Proxy, false
		}
		back.Owner = p.Owner
		route := Route{Device: "lo"}
		if hop.Owner == nil {
			route = e.network.Route(RouteQuery{Proto: p.Proto, Src: p.Src, Dst: p.Dst, UID: p.Owner.UID})
		}
		if back.Out = route.Device; route.Failure != Routed {
			back.noRoute(route.Failure, p.Dst, 0)
		} else {
			p = e.goesOut(back, p)
		}
	} else {
		back.In = landed.Out
		p = e.comesIn(back, p)
	}
	switch {
	case back.Outcome != Direct:
	case hop.Owner == nil && back.Owner == nil && p.Hook == iptables.Input: // it was to be forwarded
		back.Outcome, back.Decided = Dropped, &Decision{Cause: NotReturned, Mark: p.Mark}
	case p.State == iptables.Untracked && landed.NAT != 0: // its addresses are not those that the sender knows
		back.Outcome, back.Decided = Dropped, e.untrackedBy(*back)
	case hop.Owner == nil && p.In == "lo" && !e.isLocal(first.Src): // a mark that was saved routes it to this machine
		back.Outcome, back.Decided = Dropped, &Decision{Cause: NotReturned, Mark: p.Mark}
	case p.RedirectedTo != 0 || p.DNATed: // nat takes it for the first packet of a connection
		back.Outcome, back.Decided = Dropped, e.capturedBy(*back)
	case p.TProxiedTo != 0: // its socket is not transparent (net/netfilter/xt_TPROXY.c, tproxy_tg4)
		back.Outcome, back.Decided = Dropped, e.capturedBy(*back)
	}
	e.end(hop, back, Answer)
	return p.ConnMark
}

// untracking is the step that took the connection from conntrack.
func untracking(hop *Hop) iptables.Step {
	for _, trace := range hop.Hooks {
		for _, s := range trace.Steps {
			if s.Untracks {
				return s
			}
		}
	}
	return iptables.Step{}
}

// later follows the next packet of a connection.
func (e evaluator) later(hop *Hop, p iptables.Packet) iptables.Packet {
	next := &Hop{Who: hop.Who, Connection: hop.Connection, bound: hop.bound}
	if hop.Owner != nil {
		p = e.goesOut(next, p)
	} else {
		p = e.comesIn(next, p)
	}
	e.end(hop, next, Later)
	return p
}

// end ends a hop where a packet behind its first one does.
func (e evaluator) end(hop, of *Hop, packet Lost) {
	for _, d := range of.Caveats {
		d.Of = packet
		hop.Caveats = append(hop.Caveats, d)
	}
	if of.Outcome != Dropped && of.Outcome != NoRoute && of.Outcome != Unknown || hop.Outcome == Dropped {
		return
	}
	hop.Outcome, hop.Captured, hop.Port, hop.Lost, hop.Behind = Dropped, false, 0, packet, of.Hooks
	if hop.Decided = of.Decided; hop.Decided == nil {
		hop.Decided = e.decision(*of)
	}
}

// appID is the user and the group of an app.
const appID = 1000
