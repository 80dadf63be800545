package capture

import "istio-init/iptables"

// sshPort was left alone by the generation 1.0, whatever was asked for.
const sshPort = 22

// inbound are the rules for TCP connections that come into the pod.
func inbound(c Config, f iptables.Family) []rule {
	var rules []rule
	to := func(m match, target iptables.Target) { rules = append(rules, when(m, target)) }
	tcp := func(r iptables.PortRange) match { return match{Proto: iptables.TCP, DPort: iptables.Is(r)} }

	// From a virtual machine: not inbound, but outbound where it is captured.
	for _, dst := range destinations(c, f) {
		for _, in := range c.VirtualInterfaces {
			to(match{In: iptables.Is(in), Dst: dst}, jump(chainRedirect))
		}
	}
	for _, in := range c.VirtualInterfaces {
		to(match{In: iptables.Is(in)}, iptables.Return)
	}
	// By an excluded interface: as if there were no mesh.
	for _, in := range c.ExcludeInterfaces {
		to(match{In: iptables.Is(in)}, iptables.Return)
	}

	// HBONE ends in the proxy by itself.
	switch c.Generation {
	case Current, Istio1_15:
		to(tcp(iptables.Port(c.TunnelPort)), iptables.Return)
	case Istio1_0:
		if c.InboundPorts.All {
			to(tcp(iptables.Port(sshPort)), iptables.Return)
		}
	}
	if c.InboundPorts.All {
		for _, port := range c.InboundPorts.Except {
			to(tcp(port), iptables.Return)
		}
		to(match{Proto: iptables.TCP}, jump(chainInRedirect))
		return rules
	}
	for _, port := range c.InboundPorts.Only {
		to(tcp(port), jump(chainInRedirect))
	}
	return rules
}
