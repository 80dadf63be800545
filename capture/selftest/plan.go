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

// Prepare plans the proof of a valid config in one family, here. port is the one
// that is connected to where the config demands no other. A config without rules in
// the family has nothing to prove.
func Prepare(c capture.Config, f inet.Family, port uint16, here Site) Plan {
	p := &planner{c: c, f: f, here: here, rules: capture.Rules(c, f)}
	p.plan = Plan{Family: f, Self: here.self()}
	if len(p.rules.Tables) == 0 {
		return p.plan
	}
	p.port = p.freePort(port)
	p.apps = p.app()
	p.proxy = p.proxies()
	p.outbound()
	p.inside()
	p.lookups()
	p.inbound()
	p.listen()
	return p.plan
}

// A planner is a plan in the making.
type planner struct {
	c     capture.Config
	f     inet.Family
	rules iptables.Ruleset
	here  Site
	port  uint16 // connected to where no other is meant
	apps  party
	proxy []party // never empty
	plan  Plan
}

// freePort returns the port, or another where it is one that means something else.
func (p *planner) freePort(port uint16) uint16 {
	taken := []uint16{p.c.ProxyPort, p.c.InboundPort, p.c.TunnelPort, capture.DNSPort, capture.DNSProxyPort}
	for slices.Contains(taken, port) {
		port = port%65535 + 1
	}
	return port
}

// firstProxy is the proxy by the first of its ids that we can have.
func (p *planner) firstProxy() party {
	return p.proxy[max(0, slices.IndexFunc(p.proxy, func(x party) bool { return x.lack == "" }))]
}

// tcp is a connection to an address and a port.
func tcp(to netip.Addr, port uint16) Probe {
	return Probe{Proto: iptables.TCP, To: netip.AddrPortFrom(to, port)}
}

// resolve fills in where a connection of somebody lands, and why it cannot be made.
func (p *planner) resolve(who party, probe Probe) Probe {
	probe.Family, probe.Who, probe.Lack = p.f, who.Owner, who.lack
	path, err := p.here.PathTo(probe.To.Addr())
	if err != nil {
		probe.Lack = err.Error()
		return probe
	}
	src := path.Src
	if probe.From.IsValid() {
		src = probe.From
	}
	const anyPort = 40000 // no rule looks at it, but for answers
	w := p.rules.TraceSent(iptables.Packet{
		Out: path.Interface, Proto: probe.Proto, SYN: probe.Proto == iptables.TCP, State: iptables.New, Mark: probe.Mark,
		Src: netip.AddrPortFrom(src, anyPort), Dst: probe.To, Owner: &probe.Who,
	})
	probe.Lands = Landing{Port: w.Packet.RedirectedTo, Away: path.Interface != "lo" && w.Packet.RedirectedTo == 0}
	if w.Packet.TProxiedTo != 0 {
		probe.Lands = Landing{Port: w.Packet.TProxiedTo, TProxy: true}
	}
	probe.Rule = p.deciding(w.Steps)
	return probe
}

// deciding are those of the rules that took a packet that decide where it lands:
// the one that redirects it, or those that leave it alone.
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

// first returns the first of some connections of somebody that lands at a port, or
// the first that can be made, or the first.
func (p *planner) first(who party, port uint16, probes ...Probe) (Probe, bool) {
	best := -1
	for i := range probes {
		probes[i] = p.resolve(who, probes[i])
		switch {
		case probes[i].Lands.Port == port:
			return probes[i], true
		case best < 0 && probes[i].Lack == who.lack:
			best = i
		}
	}
	return probes[max(best, 0)], false
}

// add takes a connection of somebody into the plan, unless there is one like it.
func (p *planner) add(who party, name string, probe Probe) {
	probe = p.resolve(who, probe)
	probe.Name = name
	if !slices.ContainsFunc(p.plan.Probes, func(x Probe) bool {
		return x.Proto == probe.Proto && x.To == probe.To && x.From == probe.From && x.Mark == probe.Mark && x.Who == probe.Who && x.Lack == probe.Lack
	}) {
		p.plan.Probes = append(p.plan.Probes, probe)
	}
}

// cannot says of a kind of traffic that no socket here can make it.
func (p *planner) cannot(name, lack string) {
	p.plan.Probes = append(p.plan.Probes, Probe{Family: p.f, Name: name, Lack: lack})
}

// listen plans the listeners: on the ports of the proxy, and wherever a connection in
// the pod goes, so that it is known when one goes past the proxy.
func (p *planner) listen() {
	who := p.firstProxy()
	if who.lack != "" {
		who.Owner = p.here.self()
	}
	add := func(l Listener) {
		if !slices.ContainsFunc(p.plan.Listeners, func(x Listener) bool { return x.Proto == l.Proto && x.At == l.At }) {
			p.plan.Listeners = append(p.plan.Listeners, l)
		}
	}
	for _, port := range []uint16{p.c.ProxyPort, p.c.InboundPort} {
		add(Listener{
			Proto: iptables.TCP, At: netip.AddrPortFrom(p.f.Any(), port), Who: who.Owner, Proxy: true,
			Transparent: p.c.ProxiesInbound() && port == p.c.InboundPort && p.here.Powers.Raw,
		})
	}
	if p.c.DNS.Captures() {
		for _, proto := range []iptables.Proto{iptables.TCP, iptables.UDP} {
			add(Listener{Proto: proto, At: netip.AddrPortFrom(p.f.Localhost(), capture.DNSProxyPort), Who: who.Owner, Proxy: true})
		}
	}
	for i, probe := range p.plan.Probes {
		if probe.Lack != "" {
			continue
		}
		if path, err := p.here.PathTo(probe.To.Addr()); err == nil && path.Interface == "lo" {
			add(Listener{Proto: probe.Proto, At: probe.To, Who: p.here.self()})
		}
		// The agent's answer is taken for one to the app by who sends it.
		p.plan.Probes[i].OneWay = probe.Proto == iptables.UDP && probe.Lands.Port != 0 && p.firstProxy().lack != ""
	}
}
