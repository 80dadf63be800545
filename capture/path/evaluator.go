package path

import (
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// An evaluator follows connections through the rules of one family.
type evaluator struct {
	*infer.Inference
	c       capture.Config
	network Network
	tracer  *iptables.Tracer
}

func newEvaluator(rules *infer.Inference, c capture.Config, network Network) evaluator {
	e := evaluator{rules, c, network, iptables.NewTracer(rules.Rules)}
	e.tracer.Local = func(a netip.Addr) bool { return e.isLocal(netip.AddrPortFrom(a, 0)) }
	return e
}

// hop follows one connection.
func (e evaluator) hop(c Connection) Hop {
	if c.State == 0 {
		c.State = iptables.New
	}
	route := Route{Device: c.In}
	if c.Owner != nil {
		route = e.routeSent(c)
	}
	if !c.Src.Addr().IsValid() {
		c.Src = netip.AddrPortFrom(route.Src, c.Src.Port())
	}
	hop := Hop{Who: e.who(c.Owner, c.Mark), Connection: c, bound: c.Out}
	anyPort := c.Src.Port() == 0
	if anyPort {
		c.Src = netip.AddrPortFrom(c.Src.Addr(), ephemeralPort)
	}
	if route.Failure != Routed {
		hop.noRoute(route.Failure, c.Dst, c.Mark)
		return hop
	}
	hop.setDevice(route.Device)
	p := iptables.Packet{
		Proto: c.Proto, Src: c.Src, Dst: c.Dst, Mark: c.Mark, State: c.State, Owner: c.Owner, AnySrcPort: anyPort,
		SYN: c.Proto == iptables.TCP && c.State&(iptables.New|iptables.Related) != 0,
	}
	if c.Owner != nil && hop.bound == "" && route.Device == "lo" && c.Mark != e.c.TProxyMark && !e.isLocal(c.Dst) {
		hop.Caveats = append(hop.Caveats, Caveat{Cause: RoutedHere, Hook: iptables.Output})
	}
	first := p
	if c.Owner == nil {
		p = e.comesIn(&hop, p)
	} else {
		p = e.goesOut(&hop, p)
	}
	e.land(&hop, p)
	e.obstruct(&hop, p)
	if hop.Decided == nil {
		hop.Decided = e.decision(hop)
	}
	e.answers(&hop, first, p)
	return hop
}

// routeSent routes what a socket sends. In IPv4 the kernel routes once more with the source
// that it has picked, which policy rules may match (net/route.h, ip_route_connect_init).
func (e evaluator) routeSent(c Connection) Route {
	q := RouteQuery{Proto: c.Proto, Src: c.Src, Dst: c.Dst, Mark: c.Mark, UID: c.Owner.UID, Out: c.Out}
	route := e.network.Route(q)
	if route.Failure != Routed || q.Src.Addr().IsValid() || e.Rules.Family != inet.IPv4 {
		return route
	}
	q.Src = netip.AddrPortFrom(route.Src, q.Src.Port())
	if q.Src.Port() == 0 && c.Proto == iptables.TCP { // by now it has a port (ip_route_newports)
		q.Src = netip.AddrPortFrom(route.Src, ephemeralPort)
	}
	again := e.network.Route(q)
	again.Src = route.Src
	return again
}

// noRoute ends a hop that has no way to a destination.
func (l *Hop) noRoute(why RouteFailure, to netip.AddrPort, mark uint32) {
	l.Outcome = NoRoute
	l.Decided = &Decision{Cause: NoRouteTo, Route: why, To: to.Addr(), Mark: mark}
}

// setDevice takes the interface at which the rules meet the connection first.
func (l *Hop) setDevice(device string) {
	if l.Owner == nil {
		l.In = device
	} else {
		l.Out = device
	}
}

// ephemeralPort stands for a source port that the kernel picks.
const ephemeralPort = 40000

// who names the one that opens a connection. The proxy of ambient is known by its mark.
func (e evaluator) who(owner *iptables.Owner, mark uint32) string {
	if owner == nil {
		return "peer"
	}
	has := func(ids []iptables.IDRange, id uint32) bool {
		return slices.ContainsFunc(ids, func(r iptables.IDRange) bool { return r.Contains(id) })
	}
	ztunnel := e.Ambient && !e.Captures() && infer.ZtunnelMark.Matches(mark)
	if ztunnel || has(e.c.ProxyUIDs, owner.UID) || has(e.c.ProxyGIDs, owner.GID) {
		return "proxy"
	}
	return "app"
}

// hook walks a packet through one hook; ok is false when that is its end.
func (e evaluator) hook(hop *Hop, p iptables.Packet, hook string) (_ iptables.Packet, ok bool) {
	p.Hook = hook
	w := e.tracer.Trace(p)
	hop.Hooks = append(hop.Hooks, HookTrace{hook, w})
	e.caveat(hop, p, w)
	if w.BrokenOff {
		last := &hop.Hooks[len(hop.Hooks)-1]
		last.Steps = last.Steps[:min(len(last.Steps), maxShown)]
		hop.Outcome, hop.Decided = Unknown, &Decision{Cause: BrokenOff}
	} else if w.Verdict == iptables.Drop {
		hop.Outcome = Dropped
	} else if w.Taken {
		hop.Outcome = Unknown
	}
	for _, again := range w.Reroutes {
		if hop.Outcome == Direct {
			w.Packet.Out = e.reroute(hop, again)
		}
	}
	return w.Packet, hop.Outcome == Direct
}

// maxShown is how many steps are kept of a walk that was broken off.
const maxShown = 100

// reroute routes a packet anew that a socket sent, as ip_route_me_harder does
// (net/ipv4/netfilter.c, which does not know the user; net/ipv6/netfilter.c).
func (e evaluator) reroute(hop *Hop, p iptables.Packet) (device string) {
	q := RouteQuery{Proto: p.Proto, Src: p.Src, Dst: p.Dst, Mark: p.Mark, Out: hop.bound}
	if e.Rules.Family == inet.IPv6 {
		q.UID = hop.Owner.UID
	}
	e.caveatRoute(hop, p)
	route := e.network.Route(q)
	if p.Dst.Addr().IsLoopback() && hop.bound == "" && !e.network.Assumed && route.Failure == Routed && route.Device != "lo" {
		route.Failure = Unrouted // lo is down, or has lost its address: it leaves, and is lost
	}
	if route.Failure != Routed {
		hop.noRoute(route.Failure, p.Dst, p.Mark)
	}
	return route.Device
}

// caveatRoute adds that the route of a packet is not known: a foreign rule has set its mark,
// and policy rules are not known.
func (e evaluator) caveatRoute(hop *Hop, p iptables.Packet) {
	if !e.network.Assumed || p.Mark == hop.Mark {
		return
	}
	for _, trace := range hop.Hooks {
		for _, s := range trace.Steps {
			if s.Marks && s.Rule.Role == capture.RoleUnknown && !e.Own.Has(s.Table, s.Chain) {
				hop.Caveats = append(hop.Caveats, Caveat{Cause: UnknownRoute, Hook: trace.Hook, Mark: p.Mark})
				return
			}
		}
	}
}

// goesOut follows a packet of a socket of the namespace: out, or by lo back in.
func (e evaluator) goesOut(hop *Hop, p iptables.Packet) iptables.Packet {
	p.Out = hop.Out
	p, ok := e.hook(hop, p, iptables.Output)
	if ok {
		p, ok = e.hook(hop, p, iptables.Postrouting)
	}
	if !ok || p.Out != "lo" {
		return p
	}
	p.In, p.Out, p.Owner, p.NATDone = "lo", "", nil, true
	if p, ok = e.hook(hop, p, iptables.Prerouting); ok {
		p, _ = e.hook(hop, p, iptables.Input)
	}
	return p
}

// comesIn follows a packet from outside: to a socket, or through the namespace.
func (e evaluator) comesIn(hop *Hop, p iptables.Packet) iptables.Packet {
	p.In = hop.In
	p, ok := e.hook(hop, p, iptables.Prerouting)
	if !ok {
		return p
	}
	e.caveatRoute(hop, p)
	if p.RedirectedTo != 0 && e.network.HasAddress != nil && !e.network.HasAddress(p.In, e.Rules.Family) { // net/netfilter/nf_nat_redirect.c
		hop.Outcome, hop.Decided = Dropped, &Decision{Cause: NoAddress}
		return p
	}
	if p.RedirectedTo != 0 && !e.isLocal(p.Dst) { // to the address of the interface
		p.Dst = netip.AddrPortFrom(e.network.Route(RouteQuery{Dst: p.Src}).Src, p.RedirectedTo)
	}
	route := e.network.Route(RouteQuery{Proto: p.Proto, Src: p.Src, Dst: p.Dst, Mark: p.Mark, In: p.In})
	switch {
	case p.RedirectedTo != 0 || p.TProxiedTo != 0 && e.network.Assumed:
		route = Route{Device: "lo"}
	case route.Failure != Routed:
		hop.noRoute(route.Failure, p.Dst, p.Mark)
		return p
	case p.TProxiedTo != 0 && route.Device != "lo": // ip_forward drops what has a socket
		hop.Outcome, hop.Decided = Dropped, &Decision{Cause: NotDelivered, Mark: p.Mark}
		return p
	}
	if route.Device == "lo" {
		p.NATDone = true
		p, _ = e.hook(hop, p, iptables.Input)
		return p
	}
	p.Out = route.Device
	if p, ok = e.hook(hop, p, iptables.Forward); ok {
		p.In = ""
		p, _ = e.hook(hop, p, iptables.Postrouting)
	}
	return p
}
