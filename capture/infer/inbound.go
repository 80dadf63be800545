package infer

import (
	"cmp"
	"fmt"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// natInbound reads the rules for connections that come in.
func (r *reader) natInbound(form string, rule iptables.Rule) string {
	switch form {
	case "i " + capture.ChainRedirect, "d i " + capture.ChainRedirect, "i " + capture.ChainInclude:
		if !slices.Contains(r.c.VirtualInterfaces, rule.In.Val) {
			r.c.VirtualInterfaces = append(r.c.VirtualInterfaces, rule.In.Val)
		}
		to := "every destination"
		if rule.Dst.Set {
			to = rule.Dst.Val.String()
		}
		return fmt.Sprintf("the virtual machine behind %s (-k) calls out: %s is included by -i", rule.In.Val, to)
	case "i RETURN":
		r.left++
		return r.leftLink(rule.In.Val, r.left <= r.leaves-len(r.c.ExcludeInterfaces))
	}
	return r.inboundPort(form, rule, capture.ChainInRedirect)
}

// leftLink reads a rule that leaves an interface alone: of a virtual machine, or
// an excluded one.
func (r *reader) leftLink(name iptables.Interface, virtual bool) string {
	if !virtual {
		return excludedLink(name)
	}
	if !slices.Contains(r.c.VirtualInterfaces, name) {
		r.c.VirtualInterfaces = append(r.c.VirtualInterfaces, name)
	}
	return fmt.Sprintf("what comes in by %s (-k) is of a virtual machine, and not inbound", name)
}

// inboundPort reads the rules for ports, the same in both modes but for the chain
// that captures.
func (r *reader) inboundPort(form string, rule iptables.Rule, chain string) string {
	ports := destinationPorts(rule.Match)
	in := &r.c.InboundPorts
	switch form {
	case "tcp dport RETURN", "tcp dports RETURN":
		if r.tunnel || !r.isTunnel(ports[0]) {
			in.Except = append(in.Except, ports...)
			return portsAre(rule, "excluded by -d")
		}
		r.tunnel = true
		if r.c.Generation == capture.Istio1_0 {
			return "port 22 was never captured by Istio 1.0"
		}
		r.c.TunnelPort = ports[0].Lo
		return fmt.Sprintf("port %d is the proxy's own, for tunnels (-e)", ports[0].Lo)
	case "tcp " + chain:
		in.All = true
		return "every port is included by -b"
	case "tcp dport " + chain, "tcp dports " + chain:
		in.Only = append(in.Only, ports...)
		return portsAre(rule, "included by -b")
	}
	return ""
}

// isTunnel tells whether a port that is left alone first of all is that of the
// tunnel. Istio has it in nat alone, also in mode TPROXY.
func (r *reader) isTunnel(port iptables.PortRange) bool {
	switch {
	case !port.Single():
		return false
	case r.chain == "nat "+capture.ChainInbound: // from 1.7 on; until then it was that of SSH
		return port.Lo != capture.SSHPort || r.c.Generation == capture.Istio1_0
	}
	return port.Lo == cmp.Or(r.c.TunnelPort, capture.DefaultTunnelPort)
}

// lookups reads the rules that redirect look-ups.
func (r *reader) lookups(form string, rule iptables.Rule) string {
	switch form {
	case "tcp dport REDIRECT", "udp dport REDIRECT":
		r.c.DNS.All = true
		return "all look-ups go to the agent (--capture-all-dns)"
	case "d tcp dport REDIRECT", "d udp dport REDIRECT":
		if server := rule.Dst.Val.Addr(); rule.Proto == iptables.UDP {
			r.c.DNS.Servers = append(r.c.DNS.Servers, server)
		}
		return fmt.Sprintf("look-ups of the server %s go to the agent (--redirect-dns)", rule.Dst.Val.Addr())
	}
	return ""
}

// zones reads the rules that put look-ups into conntrack zones.
func (r *reader) zones(form string, _ iptables.Rule) string {
	switch form {
	case "udp dport uid CT", "udp dport gid CT":
		return "a look-up of the proxy: apart from those of the app"
	case "udp sport uid CT", "udp sport gid CT":
		return "an answer of the agent: with the look-up of the app"
	case "udp dport CT", "d udp dport CT":
		return "a look-up of the app: apart from those of the proxy"
	case "udp sport CT", "s udp sport CT":
		return "an answer of a server: with the look-up of the proxy"
	}
	return ""
}

// mangleInbound reads the rules of mode TPROXY for packets that come in.
func (r *reader) mangleInbound(form string, rule iptables.Rule) string {
	switch form {
	case "i RETURN":
		r.left++
		return r.leftLink(rule.In.Val, r.left > len(r.c.ExcludeInterfaces))
	case "d i RETURN":
		return fmt.Sprintf("the virtual machine behind %s (-k) calls out: nat sees to it", rule.In.Val)
	case "tcp mark SAVE":
		r.c.Mode, r.c.TProxyMark = capture.TProxy, rule.Mark.Val.Value // Istio has it without inbound ports too
		return "the proxy connects to the app: the answer has to find its way back"
	case "tcp mark RETURN":
		return "the proxy connects to the app"
	case "s i tcp RETURN":
		return "the proxy connects to the app on behalf of a peer"
	case "i tcp !mark RETURN":
		return localCall
	case "tcp state " + capture.ChainDivert, "tcp !syn state " + capture.ChainDivert, "tcp dport state " + capture.ChainDivert, "tcp dport !syn state " + capture.ChainDivert,
		"tcp dports state " + capture.ChainDivert, "tcp !syn dports state " + capture.ChainDivert:
		return "a packet of a connection that the proxy may have"
	}
	if form == "foreign" && jumpsTo(rule, capture.ChainDivert) { // -m socket, in 1.0
		return "a packet of a connection that the proxy may have"
	}
	return r.inboundPort(form, rule, capture.ChainTProxy)
}

// divert reads the rules for packets of connections that the proxy has.
func (r *reader) divert(form string, _ iptables.Rule) string {
	switch form {
	case "MARK":
		return "it is marked, so that it is delivered here"
	case "ACCEPT":
		return "it goes to the socket that has the connection"
	}
	return ""
}

// tproxy reads the rule that gives packets to the proxy's socket.
func (r *reader) tproxy(form string, rule iptables.Rule) string {
	to, ok := rule.Target.(iptables.TProxy)
	if !ok || form != "!d tcp TPROXY" {
		return ""
	}
	r.c.Mode, r.c.InboundPort, r.c.TProxyMark = capture.TProxy, to.Port, to.Mark.Value
	return fmt.Sprintf("to the proxy's inbound port %d, as it is", to.Port)
}

// mangleOutput reads the rules of mode TPROXY for packets that leave a socket.
func (r *reader) mangleOutput(form string, rule iptables.Rule) string {
	switch form {
	case "o RETURN":
		return excludedLink(rule.Out.Val)
	case "o tcp mark RETURN":
		return "the proxy connects to the app"
	case "!d o tcp uid MARK", "!d o tcp gid MARK":
		return "the proxy calls its own pod: in by the front door"
	case "tcp connmark RESTORE":
		return "the app answers the proxy: back the way it came"
	}
	return ""
}

// drop reads the rules for what fits no connection.
func (r *reader) drop(form string, rule iptables.Rule) string {
	switch form {
	case "i RETURN":
		r.c.Mode = capture.TProxy // REDIRECT drops by every interface
		return excludedLink(rule.In.Val)
	case "DROP":
		r.c.DropInvalid = true
		return "what fits no connection is dropped (--drop-invalid)"
	}
	return ""
}
