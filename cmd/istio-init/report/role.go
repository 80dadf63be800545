package report

import (
	"fmt"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Reason says why a rule is there, as a clause: "port 3306 is excluded by -o". It is "" for a rule
// without a role.
func Reason(r iptables.Rule) string {
	if reason, ok := fixedReasons[r.Role]; ok {
		return reason
	}
	if of, ok := reasons[r.Role]; ok {
		return of(r)
	}
	return ""
}

// fixedReasons are the reasons that name no value of the rule.
var fixedReasons = map[iptables.Role]string{
	capture.RoleInboundHook:      "inbound TCP enters ISTIO_INBOUND",
	capture.RoleInvalid:          "packets in state INVALID are dropped (--drop-invalid)",
	capture.RoleDNSHook:          "DNS queries are captured in ISTIO_OUTPUT_DNS (--redirect-dns)",
	capture.RoleZonesHook:        "DNS queries get conntrack zones of their own (--redirect-dns)",
	capture.RoleNotExcluded:      "the destination is not excluded by -x",
	capture.RoleNotExcludedGroup: "the group is not excluded by ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE",
	capture.RoleNotIncluded:      "the destination is not included by -i",
	capture.RoleProxyToApp:       "the proxy connects to the app",
	capture.RoleSaveMark:         "the proxy connects to the app: the connection gets the mark, for the answer",
	capture.RoleRestoreMark:      "the app answers the proxy: the packet gets the mark of the connection",
	capture.RoleSelfCall1_0:      "the pod connects to its own IP: redirected to the outbound port",
	capture.RoleLocalCall:        "the app connects to its own pod IP",
	capture.RoleEstablished:      "packets of established connections enter ISTIO_DIVERT",
	capture.RoleDivertMark:       "the mark has policy routing deliver the packet locally",
	capture.RoleDivertAccept:     "the packet goes to the socket of its connection",
	capture.RoleProxyQuery:       "DNS queries of the proxy are not captured",
	capture.RoleZoneProxyQuery:   "DNS queries of the proxy are in a zone of their own",
	capture.RoleZoneAgent:        "answers of the agent are in the zone of the app",
	capture.RoleZoneAppQuery:     "DNS queries of the app are in the zone of the app",
	capture.RoleZoneServer:       "answers of DNS servers are in the zone of the proxy",
}

// reasons write the reasons that name values of the rule.
var reasons = map[iptables.Role]func(iptables.Rule) string{
	capture.RoleOutboundHook:         outboundHookReason,
	capture.RoleInboundPort:          func(r iptables.Rule) string { return portsReason(r, "included by -b") },
	capture.RoleOutboundPort:         func(r iptables.Rule) string { return portsReason(r, "included by -q") },
	capture.RoleDestination:          func(r iptables.Rule) string { return destination(r) + " is included by -i" },
	capture.RoleToInbound:            toInboundReason,
	capture.RoleToOutbound:           func(r iptables.Rule) string { return fmt.Sprintf("to the proxy's outbound port %d", redirectPort(r)) },
	capture.RoleExcludedInterface:    func(r iptables.Rule) string { return fmt.Sprintf("interface %s is excluded by -c", interfaceOf(r)) },
	capture.RoleExcludedInboundPort:  func(r iptables.Rule) string { return portsReason(r, "excluded by -d") },
	capture.RoleExcludedOutboundPort: func(r iptables.Rule) string { return portsReason(r, "excluded by -o") },
	capture.RoleExcludedDestination:  func(r iptables.Rule) string { return destination(r) + " is excluded by -x" },
	capture.RoleExcludeTree:          func(r iptables.Rule) string { return treeReason(r, "excluded by -x", capture.ChainExclude) },
	capture.RoleIncludeTree:          func(r iptables.Rule) string { return treeReason(r, "included by -i", capture.ChainInclude) },
	capture.RoleTunnelPort: func(r iptables.Rule) string {
		return fmt.Sprintf("port %s is the proxy's tunnel port (-e)", r.DPort.Val)
	},
	capture.RoleSSHPort:          func(r iptables.Rule) string { return fmt.Sprintf("Istio 1.0 never captured port %s", r.DPort.Val) },
	capture.RoleProxy:            func(r iptables.Rule) string { return owner(r) + " is the proxy" },
	capture.RoleSelfCall:         selfCallReason,
	capture.RoleLoopback:         func(r iptables.Rule) string { return destination(r) + " is loopback" },
	capture.RoleGroup:            func(r iptables.Rule) string { return owner(r) + " is included by ISTIO_OUTBOUND_OWNER_GROUPS" },
	capture.RoleExcludedGroup:    func(r iptables.Rule) string { return owner(r) + " is excluded by ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE" },
	capture.RoleExcludeGroupTree: excludeGroupReason,
	capture.RoleNoGroup:          noGroupReason,
	capture.RoleVirtualCall:      virtualCallReason,
	capture.RoleVirtualInterface: func(r iptables.Rule) string {
		return fmt.Sprintf("connections from virtual interface %s (-k) are not inbound", r.In.Val)
	},
	capture.RoleDNSQuery: dnsQueryReason,
	capture.RoleGuardrail: func(r iptables.Rule) string {
		return "an interrupted run of Istio left its guardrails: all " + r.Proto.String() + " is dropped"
	},
}

func outboundHookReason(r iptables.Rule) string {
	if r.Proto == iptables.TCP {
		return "outbound TCP enters ISTIO_OUTPUT"
	}
	return "outbound packets enter ISTIO_OUTPUT"
}

func toInboundReason(r iptables.Rule) string {
	if to, ok := r.Target.(iptables.TProxy); ok {
		return fmt.Sprintf("to the proxy's inbound port %d, destination unchanged", to.Port)
	}
	return fmt.Sprintf("to the proxy's inbound port %d", redirectPort(r))
}

func redirectPort(r iptables.Rule) uint16 {
	to, _ := r.Target.(iptables.Redirect)
	return to.Port
}

func interfaceOf(r iptables.Rule) iptables.Interface {
	if r.Out.Set {
		return r.Out.Val
	}
	return r.In.Val
}

// destination names the destination of a rule.
func destination(r iptables.Rule) string {
	if !r.Dst.Set {
		return "every destination"
	}
	return r.Dst.Val.String()
}

// owner names the user or the group of a rule.
func owner(r iptables.Rule) string {
	if len(r.UIDs) > 0 {
		return "user " + r.UIDs[0].Val.String()
	}
	if len(r.GIDs) > 0 {
		return "group " + r.GIDs[0].Val.String()
	}
	return "everybody"
}

// portsReason says something of the destination ports of a rule, or of all.
func portsReason(r iptables.Rule, what string) string {
	ports := r.DPorts.Val
	if r.DPort.Set {
		ports = []iptables.PortRange{r.DPort.Val}
	}
	const maxNamed = 4
	switch {
	case len(ports) == 0:
		return "every port is " + what
	case len(ports) > maxNamed:
		return "these ports are " + what
	case len(ports) == 1 && ports[0].Single():
		return fmt.Sprintf("port %s is %s", ports[0], what)
	}
	return fmt.Sprintf("ports %s are %s", strings.Join(texts(ports), ","), what)
}

func treeReason(r iptables.Rule, what, chain string) string {
	if !r.Dst.Set {
		return fmt.Sprintf("the destinations %s are in %s", what, chain)
	}
	return fmt.Sprintf("some destinations in %s are %s", r.Dst.Val, what)
}

func excludeGroupReason(r iptables.Rule) string {
	if len(r.GIDs) == 0 {
		return "the groups excluded by ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE are in " + capture.ChainExcludeGroup
	}
	return "some groups in " + r.GIDs[0].Val.String() + " are excluded by ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"
}

func selfCallReason(r iptables.Rule) string {
	if _, ok := r.Target.(iptables.SetMark); ok {
		return "the proxy connects to its own pod IP: marked for the inbound port"
	}
	return "the proxy connects to its own pod IP: redirected to the inbound port"
}

const noGroup = "the group is not in ISTIO_OUTBOUND_OWNER_GROUPS"

func noGroupReason(r iptables.Rule) string {
	if len(r.GIDs) == 0 {
		return "ISTIO_OUTBOUND_OWNER_GROUPS names no group"
	}
	return noGroup
}

func virtualCallReason(r iptables.Rule) string {
	from := fmt.Sprintf("connections from virtual interface %s (-k) are outbound: ", r.In.Val)
	if r.Target == iptables.Return {
		return from + "captured in nat"
	}
	return from + destination(r) + " is included by -i"
}

func dnsQueryReason(r iptables.Rule) string {
	if !r.Dst.Set {
		return "all DNS queries go to the agent (--capture-all-dns)"
	}
	return fmt.Sprintf("DNS queries to %s go to the agent (--redirect-dns)", r.Dst.Val.Addr())
}

// Because says why a hop ends where it does, as a clause. It is "" where a rule without a role
// decides.
func Because(hop path.Hop, f inet.Family) string {
	d := hop.Decided
	switch d.Cause {
	case path.ByRule:
		return Reason(d.Rule)
	case path.ByPolicy:
		return fmt.Sprintf("the policy of %s %s is DROP", d.At.Table, d.At.Chain)
	case path.NoRouteTo:
		return routeReason(hop)
	case path.BySysctl:
		return ObstacleText(d.Obstacle)
	case path.NoRules:
		return fmt.Sprintf("there are no rules of Istio for %s", f)
	case path.NotFirst:
		return "nat sees only the first packet of a connection (--state new)"
	case path.NotTracked:
		return "its state is INVALID"
	case path.Unseen:
		return fmt.Sprintf("a foreign rule takes it from connection tracking, so that nat does not see it: %s %s %s", d.At.Table, d.At.Chain, d.Rule.Text(f))
	case path.NoAddress:
		return fmt.Sprintf("REDIRECT needs an address, and the interface %s has none of %s", hop.In, f)
	case path.NotReturned:
		return fmt.Sprintf("a policy rule routes the answer with mark %#x to this machine", d.Mark)
	case path.BrokenOff:
		return "the rules have too many chains that jump to the next, or a loop of chains"
	case path.NotDelivered:
		return fmt.Sprintf("no policy rule leads packets with mark %#x to this machine", d.Mark)
	case path.OtherUDP:
		return "of UDP only DNS queries are captured"
	case path.OtherProtocol:
		return "only TCP and DNS queries are captured"
	case path.OtherPort:
		return fmt.Sprintf("port %d is not included by -b", hop.Dst.Port())
	case path.NoInbound:
		return "inbound connections are not captured: -b names no port"
	case path.OtherGroup:
		return noGroup
	case path.NoOutbound:
		return "outbound connections are not captured: -i and -q name nothing"
	case path.OtherDestination:
		return fmt.Sprintf("%s is not included by -i, nor port %d by -q", hop.Dst.Addr(), hop.Dst.Port())
	case path.NoJump:
		return "no rule jumps to " + capture.ChainOutput
	case path.NotByAmbient:
		if infer.ZtunnelMark.Matches(hop.Mark) {
			return "mark " + infer.ZtunnelMark.String() + " is of ztunnel, the proxy of Istio ambient"
		}
		return "no rule of Istio's ambient mode redirects it"
	}
	return ""
}

// routeReason says why there is no route.
func routeReason(hop path.Hop) string {
	to := hop.Decided.To.String()
	if hop.Decided.Mark != 0 {
		to += fmt.Sprintf(" with mark %#x", hop.Decided.Mark)
	}
	incoming := hop.Owner == nil && hop.Lost == 0
	switch why := hop.Decided.Route; {
	case incoming && (why == path.Rejected || why == path.Blackhole):
		return fmt.Sprintf("the kernel rejects it: %s is no valid source on %s (rp_filter, a martian), or the route to %s is a blackhole", hop.Src.Addr(), hop.In, to)
	case why == path.Unreachable && incoming:
		return fmt.Sprintf("there is no route to %s, or no forwarding on %s", to, hop.In)
	case why == path.Unreachable:
		return fmt.Sprintf("the route to %s is unreachable", to)
	case why == path.Blackhole:
		return fmt.Sprintf("the route to %s is a blackhole", to)
	case why == path.Prohibited:
		return fmt.Sprintf("the route to %s is prohibited", to)
	}
	return "there is no route to " + to
}
