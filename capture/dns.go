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

// rawTable puts the proxy's DNS queries over UDP into a conntrack zone, since they may
// have the addresses and ports of an app's query, whose connection nat redirects to the
// agent. Only the direction of the query is in the zone. Answers are in no zone, so that
// conntrack finds their connection whatever translated it: nat of a container engine,
// also of queries that are only forwarded.
func rawTable(c familyConfig) iptables.Table {
	t := table{Name: iptables.Raw}
	if !c.DNS.Captures() {
		return iptables.Table(t)
	}
	var queries []rule
	for _, proxy := range proxyOwners(c) {
		proxy.Proto, proxy.DPort = iptables.UDP, iptables.Is(iptables.Port(DNSPort))
		queries = append(queries, when(proxy, iptables.Zone{ID: proxyZone, Original: true}, RoleZoneProxyQuery))
	}
	t.chain(iptables.Output, when(match{}, jump(ChainOutputDNS), RoleZonesHook))
	t.chain(ChainOutputDNS, queries...)
	return iptables.Table(t)
}
