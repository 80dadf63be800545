package infer

import (
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// natInbound reads the rules for inbound connections.
func (r *reader) natInbound(s shape, rule iptables.Rule) iptables.Role {
	switch s {
	case hasIn | toRedirect, hasDst | hasIn | toRedirect, hasIn | toInclude:
		r.addVirtual(rule.In.Val)
		return capture.RoleVirtualCall
	case hasIn | toReturn:
		r.seen++
		return r.returnedInterface(rule.In.Val, r.seen <= r.returns-len(r.c.ExcludeInterfaces))
	}
	return r.inboundPort(s, rule, toInRedirect)
}

// returnedInterface reads a rule that returns the packets of an interface, a virtual or
// an excluded one.
func (r *reader) returnedInterface(name iptables.Interface, virtual bool) iptables.Role {
	if !virtual {
		return capture.RoleExcludedInterface
	}
	r.addVirtual(name)
	return capture.RoleVirtualInterface
}

// addVirtual adds a virtual interface once.
func (r *reader) addVirtual(name iptables.Interface) {
	if !slices.Contains(r.c.VirtualInterfaces, name) {
		r.c.VirtualInterfaces = append(r.c.VirtualInterfaces, name)
	}
}

// inboundPort reads the rules for ports, the same in both modes except for the
// action that captures.
func (r *reader) inboundPort(s shape, rule iptables.Rule, captures shape) iptables.Role {
	ports := destinationPorts(rule.Match)
	in := &r.c.InboundPorts
	switch s {
	case hasTCP | hasDPort | toReturn, hasTCP | hasDPorts | toReturn:
		return r.returnedPorts(ports)
	case hasTCP | captures:
		in.All = true
		return capture.RoleInboundPort
	case hasTCP | hasDPort | captures, hasTCP | hasDPorts | captures:
		in.Only = append(in.Only, ports...)
		return capture.RoleInboundPort
	}
	return capture.RoleUnknown
}

// returnedPorts reads a rule that returns TCP to some ports.
func (r *reader) returnedPorts(ports []iptables.PortRange) iptables.Role {
	in := &r.c.InboundPorts
	switch port := ports[0]; {
	case r.tunnel || !port.Single():
	case r.c.Generation == capture.Istio1_0:
		if r.tunnel = port.Lo == capture.SSHPort; r.tunnel {
			return capture.RoleSSHPort
		}
	case r.isTunnel(port.Lo):
		r.tunnel, r.knowsTunnel, r.c.TunnelPort = true, true, port.Lo
		return capture.RoleTunnelPort
	}
	in.Except = append(in.Except, ports...)
	return capture.RoleExcludedInboundPort
}

// isTunnel reports whether a returned port is that of the tunnel: the one that no self-call has, or
// that of nat. Else it is the first one, if it is 15008 or in a chain of nat that does not capture
// all ports, where nothing else is excluded. Before 1.7, the first one was of -d.
func (r *reader) isTunnel(port uint16) bool {
	if r.c.TunnelPort != 0 {
		return port == r.c.TunnelPort
	}
	return len(r.c.InboundPorts.Except) == 0 && (port == capture.DefaultTunnelPort || !r.all && r.at(iptables.NAT, capture.ChainInbound))
}

// assumeTunnel makes the first excluded port the one of the tunnel in the configuration, if no
// rule for a tunnel is known: both have the same rule, and every configuration has a tunnel.
func (r *reader) assumeTunnel() {
	in := &r.c.InboundPorts
	if r.c.TunnelPort == 0 && r.c.Generation == capture.Istio1_15 && r.c.Mode == capture.Redirect && len(in.Except) > 0 && in.Except[0].Single() {
		r.c.TunnelPort, in.Except = in.Except[0].Lo, in.Except[1:]
	}
}

// mangleInbound reads the rules of mode TPROXY for inbound packets.
func (r *reader) mangleInbound(s shape, rule iptables.Rule) iptables.Role {
	const established = hasTCP | hasState | toDivert
	switch s {
	case hasIn | toReturn:
		r.seen++
		return r.returnedInterface(rule.In.Val, r.seen > len(r.c.ExcludeInterfaces))
	case hasDst | hasIn | toReturn:
		return capture.RoleVirtualCall
	case hasTCP | hasMark | toSaveMark, hasIn | hasTCP | hasMark | toSaveMark: // the second of native nftables
		r.c.Mode, r.c.TProxyMark = capture.TProxy, rule.Mark.Val.Value // Istio has it without inbound ports too
		return capture.RoleSaveMark
	case hasTCP | hasMark | toReturn, hasIn | hasTCP | hasMark | toReturn, hasSrc | hasIn | hasTCP | toReturn:
		return capture.RoleProxyToApp
	case hasIn | hasTCP | notMark | toReturn:
		return capture.RoleLocalCall
	case established, established | notSYN, established | hasDPort, established | hasDPort | notSYN,
		established | hasDPorts, established | hasDPorts | notSYN:
		return capture.RoleEstablished
	case foreign:
		if jumpsTo(rule, capture.ChainDivert) { // -m socket, in 1.0
			return capture.RoleEstablished
		}
	}
	return r.inboundPort(s, rule, toTProxy)
}

// divert reads the rules for packets of connections that sockets of the proxy have.
func (*reader) divert(s shape, _ iptables.Rule) iptables.Role {
	switch s {
	case toSetMark:
		return capture.RoleDivertMark
	case toAccept:
		return capture.RoleDivertAccept
	}
	return capture.RoleUnknown
}

// tproxy reads the rule that gives packets to the proxy's socket.
func (r *reader) tproxy(s shape, rule iptables.Rule) iptables.Role {
	to, ok := rule.Target.(iptables.TProxy)
	if !ok || s != notDst|hasTCP|toSocket {
		return capture.RoleUnknown
	}
	r.c.Mode, r.c.InboundPort, r.c.TProxyMark = capture.TProxy, to.Port, to.Mark.Value
	return capture.RoleToInbound
}

// mangleOutput reads the rules of mode TPROXY for packets that leave a socket.
func (*reader) mangleOutput(s shape, _ iptables.Rule) iptables.Role {
	switch s {
	case hasOut | toReturn:
		return capture.RoleExcludedInterface
	case hasOut | hasTCP | hasMark | toReturn:
		return capture.RoleProxyToApp
	case notDst | hasOut | hasTCP | hasUID | toSetMark, notDst | hasOut | hasTCP | hasGID | toSetMark:
		return capture.RoleSelfCall
	case hasTCP | hasConnMark | toRestoreMark:
		return capture.RoleRestoreMark
	}
	return capture.RoleUnknown
}

// drop reads the rules for packets in state INVALID.
func (r *reader) drop(s shape, _ iptables.Rule) iptables.Role {
	switch s {
	case hasIn | toReturn:
		r.c.Mode = capture.TProxy // REDIRECT drops by every interface
		return capture.RoleExcludedInterface
	case toDrop:
		r.c.DropInvalid = true
		return capture.RoleInvalid
	}
	return capture.RoleUnknown
}
