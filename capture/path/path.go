package path

import (
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
)

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

// An Outcome is where a connection ends up.
type Outcome uint8

// The outcomes. The zero value: at its destination, as if there were no mesh.
const (
	Direct    Outcome = iota
	Outbound          // at the proxy's port for outbound connections
	Inbound           // at the proxy's port for inbound connections
	DNS               // at the agent's port for DNS queries
	Dropped           // nowhere
	Unknown           // where a foreign rule sends it, which is not known here
	NoRoute           // nowhere: there is no route
	Foreign           // at a port of the namespace, where a foreign rule sends it
	Continues         // where the first packet of its connection went
	Elsewhere         // at another machine, where a foreign rule sends it
)

var outcomeNames = [...]string{"direct", "outbound", "inbound", "lookup", "dropped", "unknown", "no-route", "foreign", "continues", "elsewhere"}

// String returns the name of the outcome.
func (o Outcome) String() string { return outcomeNames[o] }

// MarshalText returns the name of the outcome.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// A HookTrace is the way of a packet through one hook.
type HookTrace struct {
	Hook string
	iptables.Walk
}

// A Path is the connections that a first one leads to, in their order: from the app to
// the proxy, and from the proxy to the destination.
type Path []Hop

// A Hop is one connection of a path and where it ends.
type Hop struct {
	Who        string // "app", "proxy" or "peer"
	Connection        // with what was filled in
	Hooks      []HookTrace
	Lost       Lost        // the packet that does not arrive, for Dropped and NoRoute
	Behind     []HookTrace // the hooks of that packet where it is not the first
	Outcome    Outcome
	Port       uint16         // of the proxy or the agent, for the outcomes there; another one, for Foreign
	To         netip.AddrPort // for Elsewhere
	Captured   bool           // it was to go elsewhere, and a rule sent it here
	Loop       bool           // the proxy's own connection comes back to it for ever
	Decided    *Decision
	bound      string   // the interface to which the socket is bound
	Caveats    []Caveat // what could change the way, and is not known here
}

// maxHops bounds a path: app to proxy, proxy to its own pod, proxy to app.
const maxHops = 4

// Follow follows a connection through rules, and where the proxy takes it, the one
// that the proxy opens for it, until it is where it was meant to go. The configuration
// is that of all families, see [infer.Configuration].
func Follow(rules *infer.Inference, c capture.Config, network Network, first Connection) Path {
	e := newEvaluator(rules, c, network)
	var hops Path
	next := &first
	for next != nil && len(hops) < maxHops {
		hop := e.hop(*next)
		hop.Loop = len(hops) > 0 && hop.Captured && (hop.Outcome == Outbound || hop.Outcome == hops[len(hops)-1].Outcome)
		hops = append(hops, hop)
		if hop.Loop {
			break
		}
		next = e.next(hop)
	}
	return hops
}

// land says where a packet that came through all hooks is.
func (e evaluator) land(hop *Hop, p iptables.Packet) {
	if hop.Outcome != Direct {
		return
	}
	port := max(p.RedirectedTo, p.TProxiedTo) // mangle comes first, and nat does not see what it took
	if p.TProxiedTo != 0 {
		port = p.TProxiedTo
	}
	hop.Captured = port != 0 || p.DNATed
	if port == 0 && p.DNATed && !e.isLocal(p.Dst) {
		hop.Outcome, hop.To, hop.Captured = Elsewhere, p.Dst, false
		return
	}
	if port == 0 && e.isLocal(p.Dst) {
		port = p.Dst.Port() // it may go to the proxy by itself
	}
	outside := hop.Owner == nil || hop.Who == "proxy"
	switch {
	case p.Proto == iptables.TCP && port == e.c.InboundPort && port != 0 && (port != e.c.ProxyPort || outside):
		hop.Outcome, hop.Port = Inbound, port
	case p.Proto == iptables.TCP && port == e.c.ProxyPort && port != 0:
		hop.Outcome, hop.Port = Outbound, port
	case port == capture.DNSProxyPort && e.c.DNS.Captures() && (hop.Captured || p.Proto == iptables.TCP && p.Dst.Addr().IsLoopback()):
		hop.Outcome, hop.Port = DNS, port
	case hop.Captured && e.capturedBy(*hop).Others:
		hop.Outcome, hop.Port = Foreign, port
	case hop.Captured: // a port that the configuration does not name
		hop.Outcome, hop.Port = Outbound, port
	case hop.State == iptables.Established:
		hop.Outcome = Continues
	}
}

// isLocal reports whether a destination is the namespace's own.
func (e evaluator) isLocal(dst netip.AddrPort) bool {
	if e.network.Own != nil {
		return e.network.Own(dst.Addr())
	}
	return e.network.Route(RouteQuery{Dst: dst}).Device == "lo"
}

// next is the connection that the proxy opens for one it took; nil when the path ends, or
// the rules do not tell who the proxy is.
func (e evaluator) next(hop Hop) *Connection {
	if known := len(e.c.ProxyUIDs)+len(e.c.ProxyGIDs) > 0; !known || !hop.Captured || hop.State != iptables.New {
		return nil
	}
	proxy := e.network.Proxy
	to := Connection{Proto: hop.Proto, Owner: &proxy, Dst: hop.Dst}
	if e.c.Generation == capture.Istio1_0 && hop.Outcome != DNS && e.toItself(hop) {
		to.Dst = netip.AddrPortFrom(e.Rules.Family.Localhost(), hop.Dst.Port())
		return &to
	}
	switch hop.Outcome {
	case Outbound:
		return &to
	case DNS:
		if len(e.c.DNS.Servers) > 0 && !slices.Contains(e.c.DNS.Servers, hop.Dst.Addr()) {
			return nil
		}
		return &to
	case Inbound:
		if e.c.Mode == capture.TProxy {
			to.Src, to.Mark = netip.AddrPortFrom(hop.Src.Addr(), 0), e.c.TProxyMark
		} else {
			to.Src = netip.AddrPortFrom(capture.Passthrough(e.Rules.Family), 0)
		}
		return &to
	default:
		return nil
	}
}

// toItself reports whether a captured connection is to the pod. Proxies of Istio 1.0 to 1.3 connect
// to the app at the address of localhost, later ones at that of the pod.
func (e evaluator) toItself(hop Hop) bool {
	return hop.Outcome == Inbound || hop.Outcome == Outbound && e.isLocal(hop.Dst)
}
