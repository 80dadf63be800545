package selftest

import (
	"fmt"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// maxPrefixes is how many destinations of a list are tried to find one that is
// captured.
const maxPrefixes = 16

// candidates are destinations of the kind that is captured, on ports of which at
// least one is not excluded in a sane config.
func (p *planner) candidates() []Probe {
	var addrs []netip.Addr
	if p.c.OutboundPrefixes.All {
		addrs = documentation[p.f]
	}
	listed := p.listed(p.c.OutboundPrefixes.Only)
	for _, prefix := range listed[:min(len(listed), maxPrefixes)] {
		addrs = append(slices.Clip(addrs), within(prefix)...)
	}
	var probes []Probe
	for _, port := range []uint16{p.port, 65535, 9, 1} {
		for _, a := range append(slices.Clip(addrs), documentation[p.f]...) {
			probes = append(probes, tcp(a, port))
		}
	}
	return probes
}

// lowest is the lowest port of a range that a socket can have.
func lowest(r iptables.PortRange) uint16 { return max(r.Lo, 1) }

// listed are the prefixes of the family.
func (p *planner) listed(list []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(list), func(x netip.Prefix) bool { return !p.f.Has(x.Addr()) })
}

// outbound plans connections to outside the pod.
func (p *planner) outbound() {
	target, captured := p.first(p.apps, p.c.ProxyPort, p.candidates()...)
	destination := "a captured destination"
	if !captured {
		destination = "a destination outside"
	}
	p.add(p.apps, "app to "+destination, tcp(target.To.Addr(), target.To.Port()))
	for _, proxy := range p.proxy {
		p.add(proxy, proxy.name+" to "+destination, tcp(target.To.Addr(), target.To.Port()))
	}
	p.excluded(target.To, captured)
	if other, found := p.uncaptured(); found && captured {
		p.add(other, other.name+" to "+destination, tcp(target.To.Addr(), target.To.Port()))
	}
	if len(p.c.VirtualInterfaces) > 0 {
		p.cannot("virtual interface to "+destination, "only a packet from a virtual interface matches these rules")
	}
}

// excluded plans connections to what is listed besides the captured destinations.
func (p *planner) excluded(target netip.AddrPort, captured bool) {
	outside := documentation[p.f][0]
	if len(p.c.OutboundPorts) > 0 && !p.c.OutboundPrefixes.All {
		p.add(p.apps, "app to an included port", tcp(outside, lowest(p.c.OutboundPorts[0])))
	}
	if len(p.c.OutboundExcludePorts) > 0 && captured {
		p.add(p.apps, "app to an excluded port", tcp(target.Addr(), lowest(p.c.OutboundExcludePorts[0])))
	}
	if except := p.listed(p.c.OutboundPrefixes.Except); len(except) > 0 {
		if addrs := within(except[0]); len(addrs) > 0 {
			p.add(p.apps, "app to an excluded destination", tcp(addrs[0], p.port))
		}
	}
	if !p.c.OutboundPrefixes.All && captured {
		p.add(p.apps, "app to any other destination", tcp(outside, p.port))
	}
}

// toItself is a connection to the pod by an address that is not localhost. Without
// such an address it is Istio's own probe, between two addresses of lo.
func (p *planner) toItself(port uint16) Probe {
	if p.env.Addr.IsValid() {
		return tcp(p.env.Addr, port)
	}
	probe := tcp(capture.Passthrough(p.f), port)
	probe.From = p.f.Localhost()
	return probe
}

// inboundPort is a port of the pod at which a connection is captured as inbound, if
// there is one.
func (p *planner) inboundPort(who identity, like Probe) uint16 {
	probes := []Probe{like}
	for _, r := range p.c.InboundPorts.Only {
		like.To = netip.AddrPortFrom(like.To.Addr(), lowest(r))
		probes = append(probes, like)
	}
	probe, _ := p.first(who, p.c.InboundPort, probes...)
	return probe.To.Port()
}

// inside plans connections from the pod to itself.
func (p *planner) inside() {
	for _, proxy := range p.proxy {
		p.add(proxy, proxy.name+" to its own pod", p.toItself(p.inboundPort(proxy, p.toItself(p.port))))
	}
	proxy, localhost := p.firstProxy(), tcp(p.f.Localhost(), p.port)
	if p.c.Generation != capture.Istio1_0 {
		p.add(proxy, "proxy to the tunnel port of its own pod", p.toItself(p.c.TunnelPort))
		step := p.toItself(p.port)
		step.From = capture.Passthrough(p.f)
		if p.f == inet.IPv6 { // in IPv4 it is one by itself
			step.Hint = step.From.String() + " is not an address of lo"
		}
		p.add(proxy, "proxy to the app, the last step of an inbound connection", step)
	}
	p.add(proxy, "proxy to localhost", localhost)
	p.add(p.apps, "app to its own pod", p.toItself(p.port))
	p.add(p.apps, "app to localhost", localhost)
}

// dnsQueries plans DNS queries to a captured server.
func (p *planner) dnsQueries() {
	server := documentation[p.f][0]
	if !p.c.DNS.All {
		i := slices.IndexFunc(p.c.DNS.Servers, p.f.Has)
		if i < 0 {
			return
		}
		server = p.c.DNS.Servers[i]
	}
	for _, proto := range []iptables.Proto{iptables.UDP, iptables.TCP} {
		probe := Probe{Proto: proto, To: netip.AddrPortFrom(server, capture.DNSPort)}
		p.add(p.apps, fmt.Sprintf("DNS query of the app over %s", proto), probe)
		p.add(p.firstProxy(), fmt.Sprintf("DNS query of the proxy over %s", proto), probe)
	}
}

// inbound plans inbound connections. In mode TPROXY the mark of the proxy's
// connections to its own pod leads through the chain for them.
func (p *planner) inbound() {
	const name = "inbound connection"
	switch {
	case p.c.InboundPorts.Empty():
		return
	case !p.c.ProxiesInbound():
		p.cannot(name, "only a packet from another machine matches the rules of PREROUTING")
		return
	}
	p.fromOutside(name + " from another machine")
	if !p.env.Powers.Raw {
		p.cannot(name, "needs the capability NET_ADMIN or NET_RAW, for marks and transparent sockets")
		return
	}
	inward := func(port uint16) Probe {
		probe := p.toItself(port)
		probe.Mark = capture.SelfCallMark
		return probe
	}
	p.add(p.apps, name+" to a captured port", inward(p.inboundPort(p.apps, inward(p.port))))
	if except := p.c.InboundPorts.Except; p.c.InboundPorts.All && len(except) > 0 {
		p.add(p.apps, name+" to an excluded port", inward(lowest(except[0])))
	}
	p.add(p.apps, name+" to the tunnel port", inward(p.c.TunnelPort))

	onBehalf := p.toItself(p.port)
	onBehalf.From, onBehalf.Mark = documentation[p.f][0], p.c.TProxyMark
	onBehalf.Hint = fmt.Sprintf("the answer of the app did not reach the proxy: the mark of the connection is not restored, "+
		"or the policy rule for mark %#x and table %d is missing", p.c.TProxyMark, p.c.TProxyTable)
	p.add(p.apps, "proxy to the app, with the address of the peer", onBehalf)
}

// fromOutside plans what no connection from inside can show: that a packet with the mark may
// come in by an interface other than lo.
func (p *planner) fromOutside(name string) {
	if p.env.Unknown != nil {
		p.cannot(name, p.env.Unknown.Error())
	}
	for _, why := range p.env.Lost {
		p.plan.Probes = append(p.plan.Probes, Probe{Family: p.f, Name: name, Want: Target{Port: p.c.InboundPort, TProxy: true}, Skip: why, Lost: true})
	}
}
