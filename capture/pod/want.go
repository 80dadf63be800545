package pod

import (
	"istio-init/capture"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A Want is what a pod should have. The zero Want is not valid: see [Nothing].
type Want struct {
	Rules       Rules
	Lists       Rules                               // the same for a backend that has sets
	Routes      inet.PerFamily[netutil.TProxyRoute] // policy routing of mode TPROXY; zero: none
	Passthrough bool                                // the address ::6 on lo
}

// Nothing is what a pod has of which nothing is captured.
func Nothing() Want { return Want{Rules: NoRules(), Lists: NoRules()} }

// rulesFor returns the rules in the form for a backend.
func (w Want) rulesFor(b Backend) Rules {
	if b.Name() == NFTables {
		return w.Lists
	}
	return w.Rules
}

// Wanted returns what a configuration means for the families that are captured.
func Wanted(c capture.Config, families []inet.Family) Want {
	w := Nothing()
	for _, f := range families {
		w.Rules[f], w.Lists[f] = capture.Rules(c, f), capture.ListRules(c, f)
		if len(w.Rules[f].Tables) > 0 && c.ProxiesInbound() {
			w.Routes[f] = netutil.TProxyRoute{Mark: c.TProxyMark, Table: c.TProxyTable}
		}
	}
	w.Passthrough = len(w.Rules[inet.IPv6].Tables) > 0
	return w
}

// passthroughV6 is the source address of the proxy's inbound IPv6 connections.
var passthroughV6 = capture.Passthrough(inet.IPv6)

// tproxyRoutes is the policy routing of mode TPROXY. Nobody else uses the route that Istio
// makes by default, so it is the mesh's whoever made it.
var tproxyRoutes = netutil.TProxyRoutes{Known: netutil.TProxyRoute{Mark: capture.DefaultTProxyMark, Table: capture.DefaultTProxyTable}}
