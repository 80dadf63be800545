package selftest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Prepare plans the connections that check the rules of a valid config in one family.
// port is the destination port where the config asks for no other. A config without
// rules in the family has no connections.
func Prepare(c capture.Config, f inet.Family, port uint16, env Environment) Plan {
	p := &planner{c: c, f: f, env: env, rules: capture.Rules(c, f)}
	if env.Istio {
		p.istio = istioRules(c, f)
	}
	p.plan = Plan{Family: f, Self: env.self()}
	if len(p.rules.Tables) == 0 {
		return p.plan
	}
	p.port = p.freePort(port)
	p.apps = p.app()
	p.proxy = p.proxies()
	p.outbound()
	p.inside()
	p.dnsQueries()
	p.inbound()
	p.listen()
	return p.plan
}

// A planner builds a plan.
type planner struct {
	c     capture.Config
	f     inet.Family
	rules iptables.Ruleset
	// istio are the rules that Istio's own tools may have made.
	istio []iptables.Ruleset
	env   Environment
	port  uint16 // the destination port where the config asks for no other
	apps  identity
	proxy []identity // never empty
	plan  Plan
}

// istioRules returns the rules that Istio's own tools make of a config: those of its
// generation, and of Istio 1.15, whose rules a newer sidecar works with. It does not with
// those of 1.0, which capture what it sends to the app.
func istioRules(c capture.Config, f inet.Family) []iptables.Ruleset {
	all := []iptables.Ruleset{capture.IstioRules(c, f)}
	if c.Generation == capture.Current {
		c.Generation = capture.Istio1_15
		all = append(all, capture.IstioRules(c, f))
	}
	return all
}

// freePort returns the port, or the next one that is not used by Istio.
func (p *planner) freePort(port uint16) uint16 {
	taken := []uint16{p.c.ProxyPort, p.c.InboundPort, p.c.TunnelPort, capture.DNSPort, capture.DNSProxyPort}
	for slices.Contains(taken, port) {
		port = port%65535 + 1
	}
	return port
}

// firstProxy is the proxy by the first of its ids that we may use.
func (p *planner) firstProxy() identity {
	return p.proxy[max(0, slices.IndexFunc(p.proxy, func(x identity) bool { return x.skip == "" }))]
}

// tcp is a connection to an address and a port.
func tcp(to netip.Addr, port uint16) Probe {
	return Probe{Proto: iptables.TCP, To: netip.AddrPortFrom(to, port)}
}

// resolve fills in where a connection must arrive, or why it cannot be made.
func (p *planner) resolve(who identity, probe Probe) Probe {
	probe.Family, probe.Who, probe.Skip = p.f, who.Owner, who.skip
	path, err := p.env.PathTo(probe.To.Addr())
	if err != nil {
		probe.Skip = err.Error()
		return probe
	}
	src := path.Src
	if probe.From.IsValid() {
		src = probe.From
	}
	const anyPort = 40000 // no rule for new connections depends on it
	packet := iptables.Packet{
		Out: path.Interface, Proto: probe.Proto, SYN: probe.Proto == iptables.TCP, State: iptables.New, Mark: probe.Mark,
		Src: netip.AddrPortFrom(src, anyPort), Dst: probe.To, Owner: &probe.Who,
	}
	w := p.rules.TraceSent(packet)
	probe.Want, probe.Rule = target(w.Packet, path.Interface), p.deciding(w.Steps)
	for _, rules := range p.istio {
		to := target(rules.TraceSent(packet).Packet, path.Interface)
		if to == probe.Want || slices.Contains(probe.Istio, to) {
			continue
		}
		probe.Istio = append(probe.Istio, to)
		if to.TProxy && !p.env.Powers.Raw && probe.Skip == "" {
			probe.Skip = "Istio's own rules send it to a transparent socket, which needs the capability NET_ADMIN or NET_RAW"
		}
	}
	return probe
}

// target returns where a packet arrives that was sent by an interface.
func target(p iptables.Packet, by string) Target {
	switch {
	case p.TProxiedTo != 0:
		return Target{Port: p.TProxiedTo, TProxy: true}
	case p.RedirectedTo != 0:
		return Target{Port: p.RedirectedTo}
	default:
		return Target{Away: by != "lo"}
	}
}

// deciding returns the matched rules that decide where a packet arrives: the one that
// redirects it, or those that return or accept it.
func (p *planner) deciding(steps []iptables.Step) string {
	var rules []string
	for _, s := range steps {
		text := fmt.Sprintf("%s %s %s", s.Table, s.Chain, s.Rule.Text(p.f))
		switch s.Rule.Target.(type) {
		case iptables.Redirect, iptables.TProxy:
			return text
		case iptables.Verdict:
			rules = append(rules, text)
		}
	}
	return strings.Join(rules, "; ")
}

// first returns the first of some connections that arrives at a port, else the first
// that can be made, else the first.
func (p *planner) first(who identity, port uint16, probes ...Probe) (Probe, bool) {
	best := -1
	for i := range probes {
		probes[i] = p.resolve(who, probes[i])
		switch {
		case probes[i].Want.Port == port:
			return probes[i], true
		case best < 0 && probes[i].Skip == who.skip:
			best = i
		}
	}
	return probes[max(best, 0)], false
}

// add adds a connection to the plan, unless it has the same one.
func (p *planner) add(who identity, name string, probe Probe) {
	probe = p.resolve(who, probe)
	probe.Name = name
	if !slices.ContainsFunc(p.plan.Probes, func(x Probe) bool {
		return x.Proto == probe.Proto && x.To == probe.To && x.From == probe.From && x.Mark == probe.Mark && x.Who == probe.Who && x.Skip == probe.Skip
	}) {
		p.plan.Probes = append(p.plan.Probes, probe)
	}
}

// cannot adds a kind of traffic that no socket here can make, with the reason.
func (p *planner) cannot(name, skip string) {
	p.plan.Probes = append(p.plan.Probes, Probe{Family: p.f, Name: name, Skip: skip})
}

// listen plans the listeners: at the ports of the proxy, and at each destination in
// the pod, so that a connection that bypasses the proxy is seen.
func (p *planner) listen() {
	who := p.firstProxy()
	if who.skip != "" {
		who.Owner = p.env.self()
	}
	add := func(l Listener) {
		if !slices.ContainsFunc(p.plan.Listeners, func(x Listener) bool { return x.Proto == l.Proto && x.At == l.At }) {
			p.plan.Listeners = append(p.plan.Listeners, l)
		}
	}
	for _, port := range []uint16{p.c.ProxyPort, p.c.InboundPort} {
		add(Listener{
			Proto: iptables.TCP, At: netip.AddrPortFrom(p.f.Any(), port), Who: who.Owner, Proxy: true,
			Transparent: p.c.ProxiesInbound() && port == p.c.InboundPort && p.env.Powers.Raw,
		})
	}
	if p.c.DNS.Captures() {
		for _, proto := range []iptables.Proto{iptables.TCP, iptables.UDP} {
			add(Listener{Proto: proto, At: netip.AddrPortFrom(p.f.Localhost(), capture.DNSProxyPort), Who: who.Owner, Proxy: true})
		}
	}
	for i, probe := range p.plan.Probes {
		if probe.Skip != "" {
			continue
		}
		if path, err := p.env.PathTo(probe.To.Addr()); err == nil && path.Interface == "lo" {
			add(Listener{Proto: probe.Proto, At: probe.To, Who: p.env.self()})
		}
		// Without the proxy's ids the answer of the agent is not recognised as one to the app.
		p.plan.Probes[i].OneWay = probe.Proto == iptables.UDP && probe.Want.Port != 0 && p.firstProxy().skip != ""
	}
}
