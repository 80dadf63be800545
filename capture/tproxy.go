package capture

import "istio-init/iptables"

// In mode TProxy an inbound packet keeps its destination and is given to the
// proxy's socket. It carries a mark, by which policy routing delivers it here
// though its destination need not be ours:
//
//	peer ─▶ PREROUTING ─▶ ISTIO_INBOUND ─▶ ISTIO_TPROXY (new)      ─▶ proxy
//	                                    └▶ ISTIO_DIVERT (the rest) ─▶ proxy
//	proxy, with the address of the peer and the mark
//	      ─▶ lo ─▶ PREROUTING: the mark is saved to the connection ─▶ app
//	app's answer ─▶ OUTPUT: the mark is restored ─▶ lo ─▶ proxy
//	proxy to its own pod ─▶ OUTPUT: SelfCallMark ─▶ lo ─▶ PREROUTING ─▶ ISTIO_TPROXY

func marked(c familyConfig) iptables.Cond[iptables.Mark] {
	return iptables.Is(iptables.FullMark(c.TProxyMark))
}

// tproxyInbound are the rules for inbound TCP packets, also those by lo.
func tproxyInbound(c familyConfig) []rule {
	// By an excluded interface: as if there were no mesh.
	rules := leaveIn(c.ExcludeInterfaces, RoleExcludedInterface)
	// From a virtual machine to what is captured: outbound, which nat sees to.
	why := RoleVirtualCall
	if c.OutboundPrefixes.All {
		why = RoleVirtualInterface
	}
	rules = append(rules, fromVirtual(c, destinations(c), iptables.Return, why)...)
	// Proxy to app: the mark is saved, so that the answer goes to the proxy. As in Istio
	// without -i lo, which matters to a move between variants (see the package). Native
	// nftables comes after iptables, whose mark is no sign of the proxy but on lo.
	proxied, lo := match{Proto: iptables.TCP, Mark: marked(c)}, iptables.Is(loopbackInterface)
	if c.lists {
		proxied.In = lo
	}
	rules = append(rules, when(proxied, iptables.SaveMark{}, RoleSaveMark), when(proxied, iptables.Return, RoleProxyToApp))
	rules = append(rules,
		when(match{Src: iptables.Is(host(Passthrough(c.family))), In: lo, Proto: iptables.TCP}, iptables.Return, RoleProxyToApp),
		// App to itself: local. The proxy to its own pod goes on, by its mark.
		when(match{In: lo, Proto: iptables.TCP, Mark: iptables.Not(iptables.FullMark(SelfCallMark))}, iptables.Return, RoleLocalCall))
	if !c.istio { // HBONE ends in the proxy by itself.
		rules = append(rules, when(toPort(iptables.Port(c.TunnelPort)), iptables.Return, RoleTunnelPort))
	}
	if c.InboundPorts.All {
		rules = append(rules, leavePorts(c, c.InboundPorts.Except)...)
		return append(rules, toProxy(tcp)...)
	}
	for _, ports := range c.portMatches(c.InboundPorts.Only) {
		rules = append(rules, toProxy(ofProto(iptables.TCP, ports))...)
	}
	return rules
}

// toProxy are the two rules that give packets of a match to the proxy. A SYN
// begins a connection whatever conntrack still knows of an older one with the
// same ports; without the condition 1 to 10 of 10,000 such are refused.
func toProxy(m match) []rule {
	known := m
	known.SYN, known.State = iptables.Not(true), iptables.Is(iptables.Related|iptables.Established)
	return []rule{when(known, jump(ChainDivert), RoleEstablished), when(m, jump(ChainTProxy), RoleInboundPort)}
}

// divert are the rules for packets of a connection that the proxy has.
func divert(c familyConfig) []rule {
	return []rule{
		when(match{}, iptables.SetMark{Mark: iptables.FullMark(c.TProxyMark)}, RoleDivertMark),
		when(match{}, iptables.Accept, RoleDivertAccept),
	}
}

// tproxy are the rules for packets that begin a connection.
func tproxy(c familyConfig) []rule {
	return []rule{when(match{Dst: iptables.Not(c.loopback()), Proto: iptables.TCP},
		iptables.TProxy{Port: c.InboundPort, Mark: iptables.FullMark(c.TProxyMark)}, RoleToInbound)}
}

// tproxyOutput are the rules for TCP packets that leave a socket of the pod.
func tproxyOutput(c familyConfig) []rule {
	rules := leaveOut(c.ExcludeInterfaces)
	lo := iptables.Is(loopbackInterface)
	// Proxy to app, on behalf of a peer: has its mark.
	rules = append(rules, when(match{Out: lo, Proto: iptables.TCP, Mark: marked(c)}, iptables.Return, RoleProxyToApp))
	// Proxy to its own pod IP: marked for the inbound port.
	for _, self := range proxyOwners(c) {
		self.Dst, self.Out, self.Proto = iptables.Not(c.loopback()), lo, iptables.TCP
		rules = append(rules, when(self, iptables.SetMark{Mark: iptables.FullMark(SelfCallMark)}, RoleSelfCall))
	}
	// Answer of the app to the proxy: by lo, though its destination is the peer.
	return append(rules, when(match{Proto: iptables.TCP, ConnMark: marked(c)}, iptables.RestoreMark{}, RoleRestoreMark))
}

// proxyOwners are the conditions on who is the proxy, one for each id.
func proxyOwners(c familyConfig) []match {
	var owners []match
	for _, uid := range c.ProxyUIDs {
		owners = append(owners, byUID(iptables.Is(uid)))
	}
	for _, gid := range c.ProxyGIDs {
		owners = append(owners, byGID(iptables.Is(gid)))
	}
	return owners
}
