package path

import (
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
	switch hop.Outcome {
	case Dropped, NoRoute, Unknown, Continues:
		return
	}
	if hop.State != iptables.New {
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
	e.answer(hop, answer, landed)
	if first.Proto == iptables.TCP {
		e.later(hop, later)
	}
}

// answer follows the answer to a packet that has landed.
func (e evaluator) answer(hop *Hop, p, landed iptables.Packet) {
	back, out := &Hop{Who: hop.Who}, ""
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
		out = route.Device
		if back.Out = out; route.Failure != Routed {
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
	case p.State == iptables.Untracked && landed.NAT != 0: // its addresses are not those that the sender knows
		back.Outcome, back.Decided = Dropped, e.untrackedBy(*back)
	case p.In == "lo" && out != "" && out != "lo": // a mark that was saved routes it to this machine
		back.Outcome, back.Decided = Dropped, &Decision{Cause: NotReturned, Mark: p.Mark}
	case p.TProxiedTo != 0: // its socket is not transparent (net/netfilter/xt_TPROXY.c, tproxy_tg4)
		back.Outcome, back.Decided = Dropped, e.capturedBy(*back)
	}
	e.end(hop, back, Answer)
}

// later follows the next packet of a connection.
func (e evaluator) later(hop *Hop, p iptables.Packet) {
	next := &Hop{Who: hop.Who, Connection: hop.Connection, bound: hop.bound}
	if hop.Owner != nil {
		e.goesOut(next, p)
	} else {
		e.comesIn(next, p)
	}
	e.end(hop, next, Later)
}

// end ends a hop where a packet behind its first one does.
func (e evaluator) end(hop, of *Hop, packet Lost) {
	for _, d := range of.Doubts {
		d.Of = packet
		hop.Doubts = append(hop.Doubts, d)
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
