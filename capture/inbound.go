package capture

import (
	"cmp"
	"net/netip"
	"slices"

	"istio-init/iptables"
)

// fromVirtual are rules for packets of virtual interfaces to destinations. Those of an interface
// follow each other where they are a set.
func fromVirtual(c familyConfig, to []iptables.Cond[netip.Prefix], target iptables.Target, why iptables.Role) []rule {
	var rules []rule
	for _, dst := range to {
		for _, in := range c.VirtualInterfaces {
			rules = append(rules, when(match{In: iptables.Is(in), Dst: dst}, target, why))
		}
	}
	if c.lists {
		at := func(r rule) int { return slices.Index(c.VirtualInterfaces, r.In.Val) }
		slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(at(a), at(b)) })
	}
	return rules
}

// inbound are the rules for inbound TCP connections.
func inbound(c familyConfig) []rule {
	var rules []rule
	// From a virtual machine: not inbound, but outbound where it is captured.
	to, captured := destinations(c), jump(ChainRedirect)
	if c.include.tree {
		to, captured = []iptables.Cond[netip.Prefix]{{}}, jump(ChainInclude)
	}
	rules = append(rules, fromVirtual(c, to, captured, RoleVirtualCall)...)
	rules = append(rules, leaveIn(c.VirtualInterfaces, RoleVirtualInterface)...)
	// By an excluded interface: as if there were no mesh.
	rules = append(rules, leaveIn(c.ExcludeInterfaces, RoleExcludedInterface)...)
	// HBONE ends in the proxy by itself.
	switch {
	case c.Generation != Istio1_0:
		rules = append(rules, when(toPort(iptables.Port(c.TunnelPort)), iptables.Return, RoleTunnelPort))
	case c.InboundPorts.All:
		rules = append(rules, when(toPort(iptables.Port(SSHPort)), iptables.Return, RoleSSHPort))
	}
	switch {
	case !c.redirectsInbound():
	case c.InboundPorts.All:
		rules = append(rules, leavePorts(c, c.InboundPorts.Except)...)
		rules = append(rules, when(tcp, jump(ChainInRedirect), RoleInboundPort))
	default:
		for _, ports := range c.portMatches(c.InboundPorts.Only) {
			rules = append(rules, when(ofProto(iptables.TCP, ports), jump(ChainInRedirect), RoleInboundPort))
		}
	}
	return rules
}

// toPort is a TCP packet to a port or range of ports.
func toPort(port iptables.PortRange) match {
	return match{Proto: iptables.TCP, DPort: iptables.Is(port)}
}

// ofProto adds the protocol to a condition on ports.
func ofProto(p iptables.Proto, m match) match {
	m.Proto = p
	return m
}

// leavePorts are the rules that leave TCP to some ports alone.
func leavePorts(c familyConfig, ports []iptables.PortRange) []rule {
	var rules []rule
	for _, m := range c.portMatches(ports) {
		rules = append(rules, when(ofProto(iptables.TCP, m), iptables.Return, RoleExcludedInboundPort))
	}
	return rules
}
