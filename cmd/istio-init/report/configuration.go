package report

import (
	"net/netip"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
)

type (
	// A configuration is what rules are made of.
	configuration struct {
		Mode              capture.Mode            `json:"mode" jsonschema:"-m: how inbound connections are redirected"`
		Generation        capture.Generation      `json:"generation" jsonschema:"--compat: the Istio release whose rules they are"`
		ProxyPort         uint16                  `json:"proxy_port,omitempty" jsonschema:"-p: port of the proxy for outbound connections; missing if the rules do not tell"`
		InboundPort       uint16                  `json:"inbound_port,omitempty" jsonschema:"-z: port of the proxy for inbound connections"`
		TunnelPort        uint16                  `json:"tunnel_port,omitempty" jsonschema:"-e: port of the proxy for HBONE tunnels"`
		ProxyUIDs         []idRange               `json:"proxy_uids,omitempty" jsonschema:"-u: users of the proxy"`
		ProxyGIDs         []idRange               `json:"proxy_gids,omitempty" jsonschema:"-g: groups of the proxy"`
		InboundPorts      selection[portRange]    `json:"inbound_ports" jsonschema:"-b and -d: ports of the pod whose inbound connections are captured"`
		OutboundCIDRs     selection[netip.Prefix] `json:"outbound_cidrs" jsonschema:"-i and -x: destinations whose outbound connections are captured"`
		OutboundPorts     []portRange             `json:"outbound_ports,omitempty" jsonschema:"-q: ports whose outbound connections are captured too"`
		OutboundExcluded  []portRange             `json:"outbound_exclude_ports,omitempty" jsonschema:"-o: ports whose outbound connections are not captured"`
		OwnerGroups       selection[idRange]      `json:"owner_groups" jsonschema:"ISTIO_OUTBOUND_OWNER_GROUPS: groups whose processes are captured"`
		ExcludeInterfaces []iptables.Interface    `json:"exclude_interfaces,omitempty" jsonschema:"-c: interfaces whose traffic is not captured"`
		VirtualInterfaces []iptables.Interface    `json:"virtual_interfaces,omitempty" jsonschema:"-k: interfaces of virtual machines"`
		DNS               dnsSelection            `json:"dns" jsonschema:"--redirect-dns: DNS queries that are captured"`
		DropInvalid       bool                    `json:"drop_invalid" jsonschema:"--drop-invalid: inbound packets in conntrack state INVALID are dropped"`
		LoopbackCIDR      *netip.Prefix           `json:"loopback_cidr,omitempty" jsonschema:"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR, where it is not 127.0.0.1/32"`
		TProxyMark        uint32                  `json:"tproxy_mark,omitempty" jsonschema:"-t: mark of inbound packets, in mode TPROXY"`
		TProxyTable       uint32                  `json:"tproxy_table,omitempty" jsonschema:"-r: routing table of these packets"`
	}
	// A selection is all or a list, minus exclusions.
	selection[T any] struct {
		All    bool `json:"all" jsonschema:"all are selected, but for those of except"`
		Only   []T  `json:"only,omitempty" jsonschema:"those that are selected, where not all are"`
		Except []T  `json:"except,omitempty" jsonschema:"those that are not selected"`
	}
	dnsSelection struct {
		All     bool         `json:"all" jsonschema:"queries to any server"`
		Servers []netip.Addr `json:"servers,omitempty" jsonschema:"the servers, where not all queries are captured"`
	}
	portRange struct {
		Lo uint16 `json:"lo" jsonschema:"the first port"`
		Hi uint16 `json:"hi" jsonschema:"the last port"`
	}
	idRange struct {
		Lo uint32 `json:"lo" jsonschema:"the first id"`
		Hi uint32 `json:"hi" jsonschema:"the last id"`
	}
)

func newConfiguration(c capture.Config) *configuration {
	out := &configuration{
		Mode: c.Mode, Generation: c.Generation, ProxyPort: c.ProxyPort, InboundPort: c.InboundPort, TunnelPort: c.TunnelPort,
		ProxyUIDs: idRanges(c.ProxyUIDs), ProxyGIDs: idRanges(c.ProxyGIDs),
		InboundPorts:  selection[portRange]{c.InboundPorts.All, portRanges(c.InboundPorts.Only), portRanges(c.InboundPorts.Except)},
		OutboundCIDRs: selection[netip.Prefix](c.OutboundPrefixes),
		OutboundPorts: portRanges(c.OutboundPorts), OutboundExcluded: portRanges(c.OutboundExcludePorts),
		OwnerGroups:       selection[idRange]{c.OwnerGroups.All, idRanges(c.OwnerGroups.Only), idRanges(c.OwnerGroups.Except)},
		ExcludeInterfaces: c.ExcludeInterfaces, VirtualInterfaces: c.VirtualInterfaces,
		DNS: dnsSelection(c.DNS), DropInvalid: c.DropInvalid,
	}
	if c.LoopbackV4.IsValid() && c.LoopbackV4.Bits() < 32 {
		out.LoopbackCIDR = &c.LoopbackV4
	}
	if c.Mode == capture.TProxy {
		out.TProxyMark, out.TProxyTable = c.TProxyMark, c.TProxyTable
	}
	return out
}

func portRanges(list []iptables.PortRange) (out []portRange) {
	for _, r := range list {
		out = append(out, portRange(r))
	}
	return out
}

func idRanges(list []iptables.IDRange) (out []idRange) {
	for _, r := range list {
		out = append(out, idRange(r))
	}
	return out
}

// A mesh names who has made rules.
type mesh string

// ours is Istio's sidecar, whoever made its rules.
const ours mesh = "istio"

// meshes are the names of the other ones, in the order of [infer.Mesh].
var meshes = [...]mesh{"unknown", "istio-ambient", "linkerd", "kuma", "consul", "open-service-mesh", "aws-app-mesh"}

func meshOf(m infer.Mesh) mesh { return meshes[m] }

func meshTitle(i int) string { return infer.Mesh(i).String() }

// An origin says where rules are from.
type origin struct {
	From rulesFrom `json:"from" jsonschema:"which rules: those of the network namespace, those that apply would make, or those of a file"`
	File string    `json:"file,omitempty" jsonschema:"the file with the output of iptables-save"`
}

// A rulesFrom is a kind of origin.
type rulesFrom string

// The origins of rules.
const (
	fromLive    rulesFrom = "live"
	fromPlanned rulesFrom = "planned"
	fromDump    rulesFrom = "dump"
)

func (s *Source) origin() origin {
	switch {
	case s.Live:
		return origin{From: fromLive}
	case s.Dump != "":
		return origin{fromDump, s.Dump}
	}
	return origin{From: fromPlanned}
}
