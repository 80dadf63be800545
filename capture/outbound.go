package capture

import (
	"net/netip"
	"slices"

	"istio-init/iptables"
)

// output are the rules for connections that begin in the pod.
func output(c familyConfig) []rule {
	// By an excluded interface: as if there were no mesh.
	rules := leaveOut(c.ExcludeInterfaces)
	// To an excluded port: whoever calls, the proxy too.
	for _, ports := range c.portMatches(c.OutboundExcludePorts) {
		rules = append(rules, when(ofProto(iptables.TCP, ports), iptables.Return, RoleExcludedOutboundPort))
		if c.Generation == Current { // UDP matters for DNS only
			rules = append(rules, when(ofProto(iptables.UDP, ports), iptables.Return, RoleExcludedOutboundPort))
		}
	}
	rules = append(rules, fromProxy(c)...)
	if c.ManyOwnerGroups() {
		for _, gid := range c.OwnerGroups.Only {
			rules = append(rules, when(byGID(iptables.Is(gid)), jump(ChainOutputGroup), RoleGroup))
		}
		return rules
	}
	if c.groupTree {
		return append(rules, when(match{}, iptables.Goto{Chain: ChainExcludeGroup}, RoleExcludeGroupTree))
	}
	return appendFromApp(append(rules, ownerGroups(c)...), c)
}

// appendFromApp appends the rules for connections of processes that are captured.
func appendFromApp(rules []rule, c familyConfig) []rule {
	rules = slices.Grow(rules, len(c.exclude.prefixes)+len(c.include.prefixes)+len(c.OutboundPorts)+4) // with those below
	to := func(m match, target iptables.Target, why iptables.Role) { rules = append(rules, when(m, target, why)) }
	// DNS queries, also those to a server on localhost.
	if len(c.servers) > 0 {
		to(match{}, jump(ChainOutputDNS), RoleDNSHook)
	}
	// App to itself by localhost: local.
	to(match{Dst: iptables.Is(c.loopback())}, iptables.Return, RoleLoopback)
	// To an excluded destination, before any inclusion.
	if c.exclude.tree {
		to(match{}, iptables.Goto{Chain: ChainExclude}, RoleExcludeTree)
		return rules
	}
	for _, dst := range c.exclude.prefixes {
		to(match{Dst: iptables.Is(dst)}, iptables.Return, RoleExcludedDestination)
	}
	return appendIncluded(rules, c)
}

// appendIncluded appends the rules that capture: what is left of the way of a connection
// that nothing excludes.
func appendIncluded(rules []rule, c familyConfig) []rule {
	rules = slices.Grow(rules, len(c.include.prefixes)+2)
	to := func(m match, target iptables.Target, why iptables.Role) { rules = append(rules, when(m, target, why)) }
	// To an included port, wherever it is.
	for _, ports := range c.portMatches(c.OutboundPorts) {
		to(ofProto(iptables.TCP, ports), jump(ChainRedirect), RoleOutboundPort)
	}
	if c.include.tree {
		to(match{}, iptables.Goto{Chain: ChainInclude}, RoleIncludeTree)
		return rules
	}
	// To an included destination.
	for _, dst := range destinations(c) {
		to(match{Dst: dst}, jump(ChainRedirect), RoleDestination)
	}
	if c.Generation != Current && len(c.include.prefixes) > 0 {
		to(match{}, iptables.Return, RoleNotIncluded)
	}
	return rules
}

// maxGroups is for how many groups one rule matches who is in none of them, as
// Istio's does: iptables-restore takes no more words in a line. For more, the
// rules for apps are a chain of their own that each group jumps to.
const maxGroups = 48

// ManyOwnerGroups reports whether the rules for apps are a chain of their own, see
// [ChainOutputGroup].
func (c Config) ManyOwnerGroups() bool {
	return !c.OwnerGroups.All && len(c.OwnerGroups.Only) > maxGroups
}

// destinations are the conditions on the destination of what is captured: one
// without a condition for all, one for each prefix of the family, or none.
func destinations(c familyConfig) []iptables.Cond[netip.Prefix] {
	if c.OutboundPrefixes.All {
		return []iptables.Cond[netip.Prefix]{{}}
	}
	var conds []iptables.Cond[netip.Prefix]
	for _, p := range c.include.prefixes {
		conds = append(conds, iptables.Is(p))
	}
	return conds
}

// prefixChains are the chains of lists of destinations that are trees.
func prefixChains(c familyConfig) []iptables.Chain {
	var chains []iptables.Chain
	if c.exclude.tree {
		t := iptables.PrefixTree{
			Root: ChainExclude, Leaf: when(match{}, iptables.Return, RoleExcludedDestination), Branch: RoleExcludeTree,
			Rest: when(match{}, iptables.Goto{Chain: ChainOutputApp}, RoleNotExcluded),
		}
		chains = append(t.Chains(c.exclude.prefixes), iptables.Chain{Name: ChainOutputApp, Rules: appendIncluded(nil, c)})
	}
	if c.include.tree {
		t := iptables.PrefixTree{Root: ChainInclude, Leaf: when(match{}, jump(ChainRedirect), RoleDestination), Branch: RoleIncludeTree}
		chains = append(chains, t.Chains(c.include.prefixes)...)
	}
	return chains
}

// fromProxy are the rules that keep the proxy's own traffic out of the proxy,
// and calls from the pod to itself on the right side of it.
func fromProxy(c familyConfig) []rule {
	if c.Generation == Istio1_0 {
		return fromProxy1_0(c)
	}
	// Proxy to app, on behalf of a peer: the last step of an inbound connection.
	rules := []rule{when(match{Src: iptables.Is(host(Passthrough(c.family))), Out: iptables.Is(loopbackInterface)}, iptables.Return, RoleProxyToApp)}
	together := max(len(c.ProxyUIDs), len(c.ProxyGIDs), 1)
	if c.istio {
		together = 1
	}
	for uids := range slices.Chunk(c.ProxyUIDs, together) {
		rules = append(rules, fromOwners(c, byUID, uids)...)
	}
	for gids := range slices.Chunk(c.ProxyGIDs, together) {
		rules = append(rules, fromOwners(c, byGID, gids)...)
	}
	return rules
}

const loopbackInterface = iptables.Interface("lo")

// byUID and byGID make the condition on who sends a packet.
func byUID(is iptables.Cond[iptables.IDRange]) match {
	return match{UIDs: []iptables.Cond[iptables.IDRange]{is}}
}

func byGID(is iptables.Cond[iptables.IDRange]) match {
	return match{GIDs: []iptables.Cond[iptables.IDRange]{is}}
}

// fromOwners are the rules for the user ids or the group ids of the proxy. For
// one id they are Istio's, in its order. For several, what is not the proxy's can
// be told only once all of them have been: Istio tells it after the first, so that
// calls of the others to their own pod never reach the inbound port.
func fromOwners(c familyConfig, by func(iptables.Cond[iptables.IDRange]) match, ids []iptables.IDRange) []rule {
	var again, out []rule
	for _, id := range ids {
		// Proxy to its own pod by pod address (the app called its own
		// service): redirected to the inbound port, except to the tunnel
		// port, which is the proxy's, and to DNS, which the agent has seen.
		self := by(iptables.Is(id))
		self.Out, self.Dst = iptables.Is(loopbackInterface), iptables.Not(c.loopback())
		again = append(again, when(exceptTunnelAndDNS(c, self), jump(ChainInRedirect), RoleSelfCall))
		// Proxy to anywhere else: out.
		out = append(out, when(by(iptables.Is(id)), iptables.Return, RoleProxy))
	}
	// App to itself by pod address: local, unless loopback is to be captured. A
	// DNS query is not: the server may be here.
	local := match{}
	if len(ids) == 1 {
		local = by(iptables.Not(ids[0]))
	}
	local.Out = iptables.Is(loopbackInterface)
	if c.DNS.Captures() {
		local.Proto, local.DPort = iptables.TCP, iptables.Not(iptables.Port(DNSPort))
	}
	switch {
	case c.includesLoopback():
		return append(again, out...)
	case len(ids) == 1:
		return slices.Concat(again, []rule{when(local, iptables.Return, RoleLocalCall)}, out)
	}
	return slices.Concat(again, out, []rule{when(local, iptables.Return, RoleLocalCall)})
}

// exceptTunnelAndDNS excludes the tunnel port and DNS from a call to the own pod.
func exceptTunnelAndDNS(c familyConfig, self match) match {
	dns := c.DNS.Captures() && (!c.istio || len(self.GIDs) == 0)
	switch {
	case c.Generation == Current && dns:
		self.Proto = iptables.TCP
		self.DPorts = iptables.Not([]iptables.PortRange{iptables.Port(DNSPort), iptables.Port(c.TunnelPort)})
	case c.Generation == Current:
		self.Proto, self.DPort = iptables.TCP, iptables.Not(iptables.Port(c.TunnelPort))
	case dns:
		self.Proto, self.DPort = iptables.TCP, iptables.Not(iptables.Port(DNSPort))
	}
	return self
}

// fromProxy1_0 are the rules of the generation 1.0: a call of the pod to itself
// by pod address goes out by the proxy, whoever calls.
func fromProxy1_0(c familyConfig) []rule {
	rules := []rule{when(match{Dst: iptables.Not(c.loopback()), Out: iptables.Is(loopbackInterface)}, jump(ChainRedirect), RoleSelfCall1_0)}
	for _, uid := range c.ProxyUIDs {
		rules = append(rules, when(byUID(iptables.Is(uid)), iptables.Return, RoleProxy))
	}
	for _, gid := range c.ProxyGIDs {
		rules = append(rules, when(byGID(iptables.Is(gid)), iptables.Return, RoleProxy))
	}
	return rules
}

// ownerGroups are the rules that leave processes of other groups alone.
func ownerGroups(c familyConfig) []rule {
	var rules []rule
	if c.OwnerGroups.All {
		for _, gid := range c.excludedGroups {
			rules = append(rules, when(byGID(iptables.Is(gid)), iptables.Return, RoleExcludedGroup))
		}
		return rules
	}
	// In none of the groups: one rule that names them all, and with no group
	// at all takes everybody.
	var none match
	for _, gid := range c.OwnerGroups.Only {
		none.GIDs = append(none.GIDs, iptables.Not(gid))
	}
	return []rule{when(none, iptables.Return, RoleNoGroup)}
}
