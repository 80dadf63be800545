package capture

import "istio-init/iptables"

// dnsQueries are the rules that redirect DNS queries to the agent, TCP before UDP.
func dnsQueries(c familyConfig) []rule {
	var rules []rule
	for _, proto := range []iptables.Proto{iptables.TCP, iptables.UDP} {
		for _, server := range c.servers {
			rules = append(rules, when(match{Dst: server, Proto: proto, DPort: iptables.Is(iptables.Port(DNSPort))},
				iptables.Redirect{Port: DNSProxyPort}, RoleDNSQuery))
		}
	}
	return rules
}

// rawTable puts DNS queries over UDP into their zones. The first rule that matches a
// packet decides: the kernel does not change a zone that is set.
func rawTable(c familyConfig) iptables.Table {
	t := table{Name: iptables.Raw}
	if !c.DNS.Captures() {
		return iptables.Table(t)
	}
	zone := func(m match, id uint16, why iptables.Role) rule {
		m.Proto = iptables.UDP
		return when(m, iptables.Zone{ID: id}, why)
	}
	port := func(p uint16) iptables.Cond[iptables.PortRange] { return iptables.Is(iptables.Port(p)) }
	var in, out []rule
	for _, agent := range proxyOwners(c) {
		question, answer := agent, agent
		question.DPort, answer.SPort = port(DNSPort), port(DNSProxyPort)
		out = append(out, zone(question, upstreamZone, RoleZoneProxyQuery), zone(answer, appZone, RoleZoneAgent))
	}
	for _, server := range c.servers {
		out = append(out, zone(match{Dst: server, DPort: port(DNSPort)}, appZone, RoleZoneAppQuery))
		in = append(in, zone(match{Src: server, SPort: port(DNSPort)}, upstreamZone, RoleZoneServer))
	}
	if len(in) > 0 {
		t.chain(iptables.Prerouting, when(match{}, jump(ChainInbound), RoleZonesHook))
		t.chain(ChainInbound, in...)
	}
	t.chain(iptables.Output, when(match{}, jump(ChainOutputDNS), RoleZonesHook))
	t.chain(ChainOutputDNS, out...)
	return iptables.Table(t)
}
