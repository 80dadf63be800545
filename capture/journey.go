package capture

import (
	"net/netip"
	"slices"

	"istio-init/iptables"
)

// A Site is what the rules do not say of a network namespace.
type Site struct {
	// Route returns the interface by which an address is reached, "lo" for what is
	// the namespace's own, and the source address that the kernel picks then; ""
	// where there is no route.
	Route func(dst netip.Addr) (device string, src netip.Addr)
	Proxy iptables.Owner // as whom the proxy connects
}

// A Connection is what is asked of: its first packet, or a later one.
type Connection struct {
	Proto iptables.Proto
	Owner *iptables.Owner // who opens it in the namespace; nil: it comes from outside
	Src   netip.AddrPort  // what is zero in it is the kernel's choice
	Dst   netip.AddrPort
	In    string          // the interface by which it comes from outside
	Out   string          // the one by which it leaves; "": as routed
	Mark  uint32          // of its packets
	State iptables.States // zero: New
}

// A Landing is where a connection ends up.
type Landing uint8

// The landings. The zero value: at its destination, as if there were no mesh.
const (
	Direct    Landing = iota
	Outbound          // at the proxy's port for outbound connections
	Inbound           // at the proxy's port for inbound connections
	Lookup            // at the agent's port for look-ups
	Dropped           // nowhere
	Unknown           // where a rule of others sends it, which is not known here
	NoRoute           // nowhere: there is no route
	Foreign           // at a port of the namespace, where a rule of others sends it
	Continues         // where the first packet of its connection went
)

var landingNames = [...]string{"direct", "outbound", "inbound", "lookup", "dropped", "unknown", "no-route", "foreign", "continues"}

// String returns the name of the landing.
func (l Landing) String() string { return landingNames[l] }

// A Stage is the way of a packet through one hook.
type Stage struct {
	Hook string
	iptables.Walk
}

// A Leg is one connection of a journey and where it lands.
type Leg struct {
	Who        string // "app", "proxy" or "peer"
	Connection        // with what was filled in
	Stages     []Stage
	Landing    Landing
	Port       uint16 // of the proxy or the agent, for the landings there; of others, for Foreign
	Captured   bool   // it was to go elsewhere, and a rule sent it here
	Loop       bool   // the proxy's own connection comes back to it for ever
	Decided    *Decision
	Uncertain  bool // rules have conditions that are not known here, and could change the way
}

// A Decision is the rule that says where a connection lands, and why.
type Decision struct {
	At     Place
	Rule   string // as iptables-save prints it; "" where no rule takes the packet
	Reason string // a clause; "" where it is not known
	Others bool   // the rule is none of a mesh
}

// mostLegs bounds a journey: app to proxy, proxy to its own pod, proxy to app.
const mostLegs = 4

// Journey follows a connection, and where the proxy takes it, the one that the
// proxy opens for it, until it is where it was meant to go.
func (r *Reading) Journey(c Config, site Site, first Connection) []Leg {
	t := traveller{r, c, site}
	var legs []Leg
	next := &first
	for next != nil && len(legs) < mostLegs {
		leg := t.leg(*next)
		leg.Loop = len(legs) > 0 && leg.Captured && (leg.Landing == Outbound || leg.Landing == legs[len(legs)-1].Landing)
		legs = append(legs, leg)
		if leg.Loop {
			break
		}
		next = t.next(leg)
	}
	return legs
}

// A traveller follows connections through the rules of a reading.
type traveller struct {
	*Reading
	c    Config
	site Site
}

// leg follows one connection.
func (t traveller) leg(c Connection) Leg {
	if c.State == 0 {
		c.State = iptables.New
	}
	device, src := t.site.Route(c.Dst.Addr())
	if c.Owner == nil {
		device = c.In
	} else if c.Out != "" {
		device = c.Out
	}
	if !c.Src.Addr().IsValid() {
		c.Src = netip.AddrPortFrom(src, c.Src.Port())
	}
	leg := Leg{Who: t.who(c.Owner), Connection: c}
	if c.Src.Port() == 0 {
		c.Src = netip.AddrPortFrom(c.Src.Addr(), ephemeralPort)
	}
	if device == "" {
		leg.noRoute()
		return leg
	}
	leg.setDevice(device)
	p := iptables.Packet{
		Proto: c.Proto, Src: c.Src, Dst: c.Dst, Mark: c.Mark, State: c.State, Owner: c.Owner,
		SYN: c.Proto == iptables.TCP && c.State&(iptables.New|iptables.Related) != 0,
	}
	if c.Owner == nil {
		p = t.comesIn(&leg, p, device)
	} else {
		p = t.goesOut(&leg, p, device)
	}
	t.land(&leg, p)
	if leg.Decided == nil {
		leg.Decided = t.decision(leg)
	}
	return leg
}

// noRoute ends a leg that has no way to its destination.
func (l *Leg) noRoute() {
	l.Landing = NoRoute
	l.Decided = &Decision{Reason: "there is no route to " + l.Dst.Addr().String()}
}

// setDevice takes the interface at which the rules meet the connection first.
func (l *Leg) setDevice(device string) {
	if l.Owner == nil {
		l.In = device
	} else {
		l.Out = device
	}
}

// ephemeralPort stands for a source port that the kernel picks.
const ephemeralPort = 40000

// who names the one that opens a connection.
func (t traveller) who(owner *iptables.Owner) string {
	if owner == nil {
		return "peer"
	}
	has := func(ids []iptables.IDRange, id uint32) bool {
		return slices.ContainsFunc(ids, func(r iptables.IDRange) bool { return r.Contains(id) })
	}
	if has(t.c.ProxyUIDs, owner.UID) || has(t.c.ProxyGIDs, owner.GID) {
		return "proxy"
	}
	return "app"
}

// hook walks a packet through one hook; ok is false when that is its end.
func (t traveller) hook(leg *Leg, p iptables.Packet, hook string) (_ iptables.Packet, ok bool) {
	p.Hook = hook
	w := t.Rules.Trace(p)
	leg.Stages = append(leg.Stages, Stage{hook, w})
	leg.Uncertain = leg.Uncertain || w.Uncertain
	if w.Verdict == iptables.Drop {
		leg.Landing = Dropped
	} else if w.Taken {
		leg.Landing = Unknown
	}
	return w.Packet, leg.Landing == Direct
}

// goesOut follows a packet of a socket of the namespace: out, or by lo back in.
func (t traveller) goesOut(leg *Leg, p iptables.Packet, device string) iptables.Packet {
	p.Out = device
	p, ok := t.hook(leg, p, iptables.Output)
	if ok {
		p, ok = t.hook(leg, p, iptables.Postrouting)
	}
	if !ok || p.Out != "lo" {
		return p
	}
	p.In, p.Out, p.Owner, p.NATDone = "lo", "", nil, true
	if p, ok = t.hook(leg, p, iptables.Prerouting); ok {
		p, _ = t.hook(leg, p, iptables.Input)
	}
	return p
}

// comesIn follows a packet from outside: to a socket, or through the namespace.
func (t traveller) comesIn(leg *Leg, p iptables.Packet, device string) iptables.Packet {
	p.In = device
	p, ok := t.hook(leg, p, iptables.Prerouting)
	if !ok {
		return p
	}
	out, _ := t.site.Route(p.Dst.Addr())
	if out == "lo" || p.RedirectedTo != 0 || p.TProxiedTo != 0 {
		p.NATDone = true
		p, _ = t.hook(leg, p, iptables.Input)
		return p
	}
	if p.Out = out; out == "" {
		leg.noRoute()
		return p
	}
	if p, ok = t.hook(leg, p, iptables.Forward); ok {
		p.In = ""
		p, _ = t.hook(leg, p, iptables.Postrouting)
	}
	return p
}

// land says where a packet that came through all hooks is.
func (t traveller) land(leg *Leg, p iptables.Packet) {
	if leg.Landing != Direct {
		return
	}
	port := max(p.RedirectedTo, p.TProxiedTo) // mangle comes first, and nat does not see what it took
	if p.TProxiedTo != 0 {
		port = p.TProxiedTo
	}
	leg.Captured = port != 0
	device, _ := t.site.Route(p.Dst.Addr())
	if port == 0 && device == "lo" {
		port = p.Dst.Port() // it may go to the proxy by itself
	}
	outside := leg.Owner == nil || leg.Who == "proxy"
	switch {
	case p.Proto == iptables.TCP && port == t.c.InboundPort && port != 0 && (port != t.c.ProxyPort || outside):
		leg.Landing, leg.Port = Inbound, port
	case p.Proto == iptables.TCP && port == t.c.ProxyPort && port != 0:
		leg.Landing, leg.Port = Outbound, port
	case port == DNSProxyPort && t.c.DNS.Captures() && (leg.Captured || p.Proto == iptables.TCP && p.Dst.Addr().IsLoopback()):
		leg.Landing, leg.Port = Lookup, port
	case leg.Captured && t.capturedBy(*leg).Others:
		leg.Landing, leg.Port = Foreign, port
	case leg.Captured: // a port that the configuration does not name
		leg.Landing, leg.Port = Outbound, port
	case leg.State == iptables.Established:
		leg.Landing = Continues
	}
}

// next is the connection that the proxy opens for one it took; nil when the
// journey ends.
func (t traveller) next(leg Leg) *Connection {
	if !leg.Captured || leg.State != iptables.New {
		return nil
	}
	proxy := t.site.Proxy
	to := Connection{Proto: leg.Proto, Owner: &proxy, Dst: leg.Dst}
	switch leg.Landing {
	case Outbound:
		return &to
	case Lookup:
		if len(t.c.DNS.Servers) > 0 && !slices.Contains(t.c.DNS.Servers, leg.Dst.Addr()) {
			return nil
		}
		return &to
	case Inbound:
		if t.c.Mode == TProxy {
			to.Src, to.Mark = netip.AddrPortFrom(leg.Src.Addr(), 0), t.c.TProxyMark
		} else {
			to.Src = netip.AddrPortFrom(Passthrough(t.Rules.Family), 0)
		}
		return &to
	}
	return nil
}
