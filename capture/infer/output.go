package infer

import (
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// natOutput reads the rules for connections that begin in the pod.
func (r *reader) natOutput(s shape, rule iptables.Rule) iptables.Role {
	switch s {
	case hasOut | toReturn:
		if r.proxied {
			return capture.RoleLocalCall
		}
		r.c.ExcludeInterfaces = append(r.c.ExcludeInterfaces, rule.Out.Val)
		return capture.RoleExcludedInterface
	case hasTCP | hasDPort | toReturn, hasTCP | hasDPorts | toReturn:
		r.c.OutboundExcludePorts = append(r.c.OutboundExcludePorts, destinationPorts(rule.Match)...)
		return capture.RoleExcludedOutboundPort
	case hasUDP | hasDPort | toReturn, hasUDP | hasDPorts | toReturn:
		r.c.Generation = capture.Current
		return capture.RoleExcludedOutboundPort
	case hasSrc | hasOut | toReturn:
		r.proxied = true
		return capture.RoleProxyToApp
	case hasDst | toReturn, toReturn:
		return r.returned(rule)
	case toOutputDNS:
		return capture.RoleDNSHook
	case hasGID | toOutputGroup:
		r.c.OwnerGroups.All, r.c.OwnerGroups.Only = false, append(r.c.OwnerGroups.Only, rule.GIDs[0].Val)
		return capture.RoleGroup
	case notGID | toReturn:
		r.c.OwnerGroups.All = false
		for _, gid := range rule.GIDs {
			r.c.OwnerGroups.Only = append(r.c.OwnerGroups.Only, gid.Val)
		}
		return capture.RoleNoGroup
	}
	if role := r.captures(s, rule); role != capture.RoleUnknown {
		return role
	}
	if redirect, ok := rule.Target.(iptables.Redirect); ok && redirect.Port == capture.DNSProxyPort { // until 1.24
		return r.dnsQueries(s, rule)
	}
	return r.fromProxy(s, rule)
}

// captures reads the rules for what is captured, and the trees of long lists.
func (r *reader) captures(s shape, rule iptables.Rule) iptables.Role {
	switch s {
	case hasTCP | hasDPort | toRedirect, hasTCP | hasDPorts | toRedirect:
		r.captured = true
		r.c.OutboundPorts = append(r.c.OutboundPorts, destinationPorts(rule.Match)...)
		return capture.RoleOutboundPort
	case hasDst | toRedirect:
		r.include(rule.Dst.Val)
		return capture.RoleDestination
	case toRedirect:
		if o := &r.c.OutboundPrefixes; !o.All && len(o.Only) == 0 {
			o.All, r.captured = true, true
		} else {
			r.include(r.family.All())
		}
		return capture.RoleDestination
	case toExcludeGroup | byGoto, hasGID | toExcludeGroup | byGoto:
		return capture.RoleExcludeGroupTree
	case toOutputGroup | byGoto:
		return capture.RoleNotExcludedGroup
	case toExclude | byGoto, hasDst | toExclude | byGoto:
		return capture.RoleExcludeTree
	case toInclude | byGoto, hasDst | toInclude | byGoto:
		return capture.RoleIncludeTree
	case toOutputApp | byGoto:
		return capture.RoleNotExcluded
	}
	return capture.RoleUnknown
}

// include adds a captured destination. Every destination, among others, is one of a
// list.
func (r *reader) include(p netip.Prefix) {
	r.captured = true
	o := &r.c.OutboundPrefixes
	if o.All {
		o.All, o.Only = false, append(o.Only, r.family.All())
	}
	o.Only = append(o.Only, p)
}

// returned reads "[-d PREFIX] -j RETURN", whose role depends on its position.
func (r *reader) returned(rule iptables.Rule) iptables.Role {
	switch {
	case !rule.Dst.Set && r.captured:
		if o := &r.c.OutboundPrefixes; o.All { // it is behind lists alone
			o.All, o.Only = false, append(o.Only, r.family.All())
		}
		return capture.RoleNotIncluded
	case !rule.Dst.Set && !r.loopback:
		r.c.OwnerGroups.All = false
		return capture.RoleNoGroup
	case !r.loopback:
		r.loopback = true
		if r.family == inet.IPv4 {
			r.c.LoopbackV4 = rule.Dst.Val
		}
		return capture.RoleLoopback
	case !rule.Dst.Set:
		r.c.OutboundPrefixes.Except = append(r.c.OutboundPrefixes.Except, r.family.All())
	default:
		r.c.OutboundPrefixes.Except = append(r.c.OutboundPrefixes.Except, rule.Dst.Val)
	}
	return capture.RoleExcludedDestination
}

// fromProxy reads the rules that keep the proxy's own traffic out of the proxy.
func (r *reader) fromProxy(s shape, rule iptables.Rule) iptables.Role {
	const selfCall = notDst | hasOut | toInRedirect
	switch s {
	case selfCall | hasUID, selfCall | hasTCP | notDPort | hasUID, selfCall | hasTCP | notDPorts | hasUID,
		selfCall | hasGID, selfCall | hasTCP | notDPort | hasGID, selfCall | hasTCP | notDPorts | hasGID:
		r.selfCall(rule)
		return capture.RoleSelfCall
	case hasOut | notUID | toReturn, hasOut | notGID | toReturn, hasOut | hasTCP | notDPort | toReturn,
		hasOut | hasTCP | notDPort | notUID | toReturn, hasOut | hasTCP | notDPort | notGID | toReturn:
		return capture.RoleLocalCall
	case notDst | hasOut | toRedirect:
		r.proxied, r.c.Generation = true, capture.Istio1_0
		return capture.RoleSelfCall1_0
	case hasUID | toReturn:
		if !slices.Contains(r.selfs.uids, rule.UIDs[0].Val) {
			r.c.ProxyUIDs = append(r.c.ProxyUIDs, rule.UIDs[0].Val)
		}
		return capture.RoleProxy
	case hasGID | toReturn:
		return r.returnedGroup(rule.GIDs[0].Val)
	}
	return capture.RoleUnknown
}

// returnedGroup reads the group of a rule that returns: of the proxy, or excluded.
func (r *reader) returnedGroup(gid iptables.IDRange) iptables.Role {
	if i := slices.Index(r.selfs.gids, gid); i >= 0 {
		r.selfs.gids = slices.Delete(r.selfs.gids, i, i+1) // again, and it is excluded
		return capture.RoleProxy
	}
	if r.c.Generation == capture.Istio1_0 { // which knew no other groups
		r.c.ProxyGIDs = append(r.c.ProxyGIDs, gid)
		return capture.RoleProxy
	}
	r.c.OwnerGroups.Except = append(r.c.OwnerGroups.Except, gid)
	return capture.RoleExcludedGroup
}

// selfCall takes the owner of a rule for the proxy's calls to its own pod, and what
// the rule shows of the generation.
func (r *reader) selfCall(rule iptables.Rule) {
	for _, uid := range rule.UIDs {
		r.selfs.uids, r.c.ProxyUIDs = append(r.selfs.uids, uid.Val), append(r.c.ProxyUIDs, uid.Val)
	}
	for _, gid := range rule.GIDs {
		r.selfs.gids, r.c.ProxyGIDs = append(r.selfs.gids, gid.Val), append(r.c.ProxyGIDs, gid.Val)
	}
	if port, known := r.tunnelPort(destinationPorts(rule.Match)); known {
		r.c.Generation, r.c.TunnelPort = capture.Current, port
	}
}

// tunnelPort returns the port of the tunnel among those on which the proxy's calls to its own pod
// pass. With DNS that of DNS is another one, in front or, in native nftables, in ascending order.
func (r *reader) tunnelPort(ports []iptables.PortRange) (port uint16, known bool) {
	for _, p := range ports {
		for _, port := range []uint16{p.Lo, p.Hi} {
			if !r.dns || port != capture.DNSPort {
				return port, true
			}
		}
	}
	return capture.DNSPort, len(ports) > 1
}

// redirect reads the rules that redirect to the proxy.
func (r *reader) redirect(s shape, rule iptables.Rule) iptables.Role {
	if s != hasTCP|toPort {
		return capture.RoleUnknown
	}
	port := rule.Target.(iptables.Redirect).Port
	if r.at(iptables.NAT, capture.ChainRedirect) {
		r.c.ProxyPort = port
		return capture.RoleToOutbound
	}
	r.c.InboundPort = port
	return capture.RoleToInbound
}

// dnsQueries reads the rules that redirect DNS queries.
func (r *reader) dnsQueries(s shape, rule iptables.Rule) iptables.Role {
	switch s {
	case hasTCP | hasDPort | toPort, hasUDP | hasDPort | toPort:
		r.c.DNS.All = true
		return capture.RoleDNSQuery
	case hasDst | hasTCP | hasDPort | toPort:
		return capture.RoleDNSQuery
	case hasDst | hasUDP | hasDPort | toPort:
		r.c.DNS.Servers = append(r.c.DNS.Servers, rule.Dst.Val.Addr())
		return capture.RoleDNSQuery
	}
	return capture.RoleUnknown
}

// zones reads the rules that put DNS queries and answers into conntrack zones.
func (*reader) zones(s shape, _ iptables.Rule) iptables.Role {
	switch s {
	case hasUDP | hasDPort | hasUID | toZone, hasUDP | hasDPort | hasGID | toZone:
		return capture.RoleZoneProxyQuery
	case hasUDP | hasSPort | hasUID | toZone, hasUDP | hasSPort | hasGID | toZone:
		return capture.RoleZoneAgent
	case hasUDP | hasDPort | toZone, hasDst | hasUDP | hasDPort | toZone:
		return capture.RoleZoneAppQuery
	case hasUDP | hasSPort | toZone, hasSrc | hasUDP | hasSPort | toZone:
		return capture.RoleZoneServer
	}
	return capture.RoleUnknown
}
