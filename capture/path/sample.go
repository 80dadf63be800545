package path

import (
	"cmp"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Sample is a connection that stands for those that a configuration captures, and what
// becomes of it.
type Sample struct {
	Want Outcome // Outbound, Inbound or DNS
	Hop  Hop
}

// Lost reports whether the connection is not captured, and a foreign rule, a policy or a
// route decides that.
func (s Sample) Lost() bool {
	d := s.Hop.Decided
	return s.Hop.Outcome != s.Want && d != nil && (d.Others || d.Cause == ByPolicy || d.Cause == NoRouteTo)
}

// Missed reports whether the connection is not captured, whoever decides that: rules of ours do where
// others of ours are gone.
func (s Sample) Missed() bool {
	d := s.Hop.Decided
	dropped := s.Hop.Outcome == Dropped && d != nil && d.Cause == ByRule
	return s.Lost() || (s.Hop.Outcome == Direct || dropped) && !s.Hop.Uncertain()
}

// Samples follows connections that a configuration captures through the rules of one
// family: of an app, of a peer and a DNS query, of those that are captured. Of each there
// are two: one as there are many, and one whose port and addresses foreign rules hardly
// name. Where the namespace has no route, one is assumed.
func Samples(rules *infer.Inference, c capture.Config, network Network) []Sample {
	f := rules.Rules.Family
	// Rules that lead nowhere have no port of the proxy: any other than theirs tells so.
	c.ProxyPort, c.InboundPort = cmp.Or(c.ProxyPort, capture.DefaultProxyPort), cmp.Or(c.InboundPort, capture.DefaultInboundPort)
	ask := network.Route
	network.Route = func(q RouteQuery) Route {
		if q.Dst.Addr().IsLoopback() {
			q.Src = netip.AddrPort{} // it may be the assumed one
		}
		r := ask(q)
		if r.Failure == Unrouted && q.In == "" {
			r = Route{Device: "eth0", Src: outside[f].Prev()}
		}
		return r
	}
	alone := newEvaluator(infer.Infer(capture.Rules(c, f)), c, Network{Proxy: network.Proxy, Route: func(q RouteQuery) Route {
		if q.Dst.Addr().IsLoopback() { // also where lo has no address
			return Route{Device: "lo", Src: q.Dst.Addr()}
		}
		return network.Route(q)
	}})
	live := newEvaluator(rules, c, network)
	var samples []Sample
	for _, ports := range [][]uint16{{rarePort}, {80, 8080}} {
		for _, want := range []Outcome{Outbound, Inbound, DNS} {
			for _, connection := range live.candidates(want, f, ports) {
				if hop := alone.hop(connection); hop.Outcome == want && hop.Captured {
					samples = append(samples, Sample{want, live.hop(connection)})
					break
				}
			}
		}
	}
	return samples
}

// outside are addresses that nothing has (RFC 5737, RFC 3849).
var outside = inet.PerFamily[netip.Addr]{netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("2001:db8:77::77")}

const (
	rarePort = 47113
	dnsPort  = 53
	maxTried = 4 // of a list
)

// candidates returns connections that a configuration may capture, to these ports where it
// captures them.
func (e evaluator) candidates(want Outcome, f inet.Family, ports []uint16) []Connection {
	if want == Outbound {
		return e.outbound(iptables.TCP, e.destinations(e.c.OutboundPrefixes.Only, f), slices.Concat(ports, firstPorts(e.c.OutboundPorts)))
	}
	if want == DNS {
		servers := []netip.Addr{outside[f]}
		for _, server := range e.c.DNS.Servers {
			if f.Has(server) {
				servers = append(servers, server)
			}
		}
		return e.outbound(iptables.UDP, servers[:min(len(servers), maxTried)], []uint16{dnsPort})
	}
	out := e.network.Route(RouteQuery{Dst: netip.AddrPortFrom(outside[f], 0), UID: appID})
	src := outside[f]
	if ports[0] != rarePort {
		src = out.Src.Next() // a neighbour of the pod
	}
	var list []Connection
	for _, port := range slices.Concat(ports, firstPorts(e.c.InboundPorts.Only)) {
		list = append(list, Connection{Proto: iptables.TCP, Src: netip.AddrPortFrom(src, 0), Dst: netip.AddrPortFrom(out.Src, port), In: out.Device})
	}
	return list
}

// outbound returns connections of apps that may be captured.
func (e evaluator) outbound(proto iptables.Proto, dsts []netip.Addr, ports []uint16) []Connection {
	groups := []uint32{appID, rarePort}
	for _, r := range e.c.OwnerGroups.Only[:min(len(e.c.OwnerGroups.Only), maxTried)] {
		groups = append(groups, r.Lo)
	}
	var list []Connection
	for _, group := range groups {
		for _, user := range []uint32{appID, rarePort} {
			owner := &iptables.Owner{UID: user, GID: group}
			if e.who(owner, 0) != "app" {
				continue
			}
			for _, port := range ports {
				for _, dst := range dsts {
					list = append(list, Connection{Proto: proto, Owner: owner, Dst: netip.AddrPortFrom(dst, port)})
				}
			}
			break
		}
	}
	return list
}

// destinations returns addresses of other machines, of these prefixes or any.
func (e evaluator) destinations(prefixes []netip.Prefix, f inet.Family) []netip.Addr {
	list := []netip.Addr{outside[f]}
	for _, prefix := range prefixes {
		if len(list) > maxTried {
			break
		}
		for _, a := range []netip.Addr{prefix.Addr().Next(), prefix.Addr()} {
			if f.Has(a) && prefix.Contains(a) && !e.isLocal(netip.AddrPortFrom(a, 0)) {
				list = append(list, a)
				break
			}
		}
	}
	return list
}

func firstPorts(ranges []iptables.PortRange) []uint16 {
	var ports []uint16
	for _, r := range ranges[:min(len(ranges), maxTried)] {
		ports = append(ports, r.Lo)
	}
	return ports
}
