package capture

import (
	"net/netip"

	"istio-init/iptables"
)

// inbound are the rules for inbound TCP connections.
func inbound(c familyConfig) []rule {
	var rules []rule
	// From a virtual machine: not inbound, but outbound where it is captured.
	to, captured := destinations(c), jump(ChainRedirect)
	if c.include.tree {
		to, captured = []iptables.Cond[netip.Prefix]{{}}, jump(ChainInclude)
	}
	for _, dst := range to {
		for _, in := range c.VirtualInterfaces {
			rules = append(rules, when(match{In: iptables.Is(in), Dst: dst}, captured, RoleVirtualCall))
		}
	}
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
