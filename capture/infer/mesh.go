package infer

import (
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// A Mesh is who makes rules that redirect connections, and are not ours.
type Mesh uint8

// The meshes. The zero value: unknown.
const (
	OtherMesh Mesh = iota
	IstioAmbient
	Linkerd
	Kuma
	Consul
	OpenServiceMesh
	AppMesh
)

var meshNames = [...]string{"an unknown program", "Istio ambient", "Linkerd", "Kuma", "Consul", "Open Service Mesh", "AWS App Mesh"}

// String returns the name of the mesh.
func (m Mesh) String() string { return meshNames[m] }

// meshChains are the chains of other meshes, by the names in their sources: linkerd2-proxy-init
// (iptables), kuma (pkg/transparentproxy), consul (sdk/iptables), osm (pkg/injector) and App Mesh's
// route manager.
var meshChains = map[string]Mesh{
	"PROXY_INIT_REDIRECT": Linkerd, "PROXY_INIT_OUTPUT": Linkerd,
	"KUMA_MESH_INBOUND": Kuma, "KUMA_MESH_INBOUND_REDIRECT": Kuma, "KUMA_MESH_OUTBOUND": Kuma, "KUMA_MESH_OUTBOUND_REDIRECT": Kuma,
	"MESH_INBOUND": Kuma, "MESH_INBOUND_REDIRECT": Kuma, "MESH_OUTBOUND": Kuma, "MESH_OUTBOUND_REDIRECT": Kuma, // before 2.0
	"CONSUL_PROXY_INBOUND": Consul, "CONSUL_PROXY_IN_REDIRECT": Consul, "CONSUL_PROXY_OUTPUT": Consul, "CONSUL_PROXY_REDIRECT": Consul, "CONSUL_DNS_REDIRECT": Consul,
	"OSM_PROXY_INBOUND": OpenServiceMesh, "OSM_PROXY_IN_REDIRECT": OpenServiceMesh, "OSM_PROXY_OUTBOUND": OpenServiceMesh, "OSM_PROXY_OUT_REDIRECT": OpenServiceMesh,
	"APPMESH_INGRESS": AppMesh, "APPMESH_EGRESS": AppMesh,
	chainAmbientInbound: IstioAmbient,
}

// Meshes returns the other meshes whose rules redirect connections in a live state. Ambient is not
// among them.
func Meshes(s iptables.Snapshot) []Mesh {
	named := func(c iptables.LiveChain) bool { return meshChains[c.Name] != OtherMesh }
	if !slices.ContainsFunc(s.Tables, func(t iptables.LiveTable) bool { return slices.ContainsFunc(t.Chains, named) }) {
		return nil
	}
	return Infer(s.Ruleset()).Meshes()
}

// Meshes returns the other meshes whose rules redirect connections. Ambient is not among them.
func (r *Inference) Meshes() []Mesh {
	var found []Mesh
	for _, d := range r.Redirects() {
		if d.Mesh != OtherMesh && d.Mesh != IstioAmbient && !slices.Contains(found, d.Mesh) {
			found = append(found, d.Mesh)
		}
	}
	return found
}

// MeshOf returns the mesh that has a chain; [OtherMesh] where no name tells.
func (r *Inference) MeshOf(table, chain string) Mesh {
	if chain == capture.ChainOutput && r.Ambient && !r.Own.Has(table, chain) {
		return IstioAmbient
	}
	return meshChains[chain]
}

// MeshOfRule returns the mesh that has the chain of a rule, or the one to which it jumps.
func (r *Inference) MeshOfRule(table, chain string, rule iptables.Rule) Mesh {
	if to, jumps := nextChain(rule); jumps && r.MeshOf(table, chain) == OtherMesh {
		return r.MeshOf(table, to)
	}
	return r.MeshOf(table, chain)
}
