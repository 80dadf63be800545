package capture

import "istio-init/iptables"

// The roles of rules. The values that belong to one, a port or a prefix, are those of the rule.
const (
	RoleUnknown iptables.Role = iota

	RoleInboundHook          // inbound TCP enters [ChainInbound]
	RoleOutboundHook         // packets of the pod's sockets enter [ChainOutput]
	RoleInvalid              // packets in conntrack state INVALID are dropped
	RoleDNSHook              // packets enter [ChainOutputDNS], where DNS queries are captured
	RoleZonesHook            // packets enter the chains of conntrack zones
	RoleInboundPort          // a captured port, or every one
	RoleOutboundPort         // a port captured whatever the destination
	RoleDestination          // a captured destination, or every one
	RoleToInbound            // the port of the proxy for inbound connections
	RoleToOutbound           // the port of the proxy for outbound connections
	RoleExcludedInterface    // an excluded interface
	RoleExcludedInboundPort  // an excluded port of the pod
	RoleExcludedOutboundPort // a port that is excluded as a destination
	RoleExcludedDestination  // an excluded destination, or every one
	RoleExcludeTree          // goto to the tree of excluded destinations, or to a branch of it
	RoleNotExcluded          // goto behind the tree of excluded destinations
	RoleIncludeTree          // goto to the tree of captured destinations, or to a branch of it
	RoleNotIncluded          // none of the captured destinations
	RoleTunnelPort           // the port of the proxy for HBONE
	RoleSSHPort              // the port that Istio 1.0 never captured
	RoleProxy                // a user or a group of the proxy
	RoleProxyToApp           // the proxy connects to the app
	RoleSaveMark             // the proxy connects to the app: its mark goes to the connection
	RoleRestoreMark          // the app answers the proxy: the mark goes to the packet
	RoleSelfCall             // the proxy calls its own pod
	RoleSelfCall1_0          // the pod calls itself, as Istio 1.0 had it
	RoleLocalCall            // the app calls its own pod
	RoleLoopback             // the loopback prefix
	RoleGroup                // a captured owner group
	RoleExcludedGroup        // an excluded owner group
	RoleExcludeGroupTree     // goto to the tree of excluded owner groups, or to a branch of it
	RoleNotExcludedGroup     // goto behind the tree of excluded owner groups
	RoleNoGroup              // none of the captured owner groups
	RoleVirtualCall          // an outbound connection from a virtual interface
	RoleVirtualInterface     // a virtual interface: its packets are not inbound
	RoleEstablished          // a packet of a connection that a socket of the proxy may have
	RoleDivertMark           // such a packet is marked, for policy routing
	RoleDivertAccept         // such a packet goes to the socket
	RoleDNSQuery             // DNS queries go to the agent
	RoleProxyQuery           // DNS queries of the proxy are not captured
	RoleZoneProxyQuery       // DNS queries of the proxy get the upstream zone
	RoleZoneAgent            // answers of the agent get the zone of the app
	RoleZoneAppQuery         // DNS queries of the app get the zone of the app
	RoleZoneServer           // answers of a server get the upstream zone
	RoleGuardrail            // Istio drops everything while it changes its rules
)

var roleNames = [...]string{
	"unknown", "inbound-hook", "outbound-hook", "invalid", "dns-hook", "zones-hook", "inbound-port", "outbound-port", "destination",
	"to-inbound", "to-outbound", "excluded-interface", "excluded-inbound-port", "excluded-outbound-port", "excluded-destination", "exclude-tree", "not-excluded",
	"include-tree", "not-included", "tunnel-port", "ssh-port", "proxy", "proxy-to-app", "save-mark", "restore-mark", "self-call",
	"self-call-1.0", "local-call", "loopback", "group", "excluded-group",
	"exclude-group-tree", "not-excluded-group", "no-group", "virtual-call", "virtual-interface", "established",
	"divert-mark", "divert-accept", "dns-query", "proxy-query", "zone-proxy-query", "zone-agent", "zone-app-query", "zone-server", "guardrail",
}

// RoleName returns the name of a role; "" for a number that is none.
func RoleName(r iptables.Role) string {
	if int(r) >= len(roleNames) {
		return ""
	}
	return roleNames[r]
}
