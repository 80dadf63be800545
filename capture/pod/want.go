package pod

import (
	"istio-init/capture"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A Want is what a pod should have. The zero Want is that of a pod of which nothing is
// captured.
type Want struct {
	Families    []inet.Family                       // that have rules
	Routes      inet.PerFamily[netutil.TProxyRoute] // policy routing of mode TPROXY; zero: none
	Passthrough bool                                // the address ::6 on lo

	config capture.Config
}

// Nothing is what a pod has of which nothing is captured.
func Nothing() Want { return Want{} }

// Wanted returns what a configuration means for the families that are captured.
func Wanted(c capture.Config, families []inet.Family) Want {
	w := Want{config: c}
	for _, f := range families {
		if !c.Captures(f) {
			continue
		}
		w.Families = append(w.Families, f)
		if c.ProxiesInbound() {
			w.Routes[f] = netutil.TProxyRoute{Mark: c.TProxyMark, Table: c.TProxyTable}
		}
		w.Passthrough = w.Passthrough || f == inet.IPv6
	}
	return w
}

// Rules returns the rules as iptables has them.
func (w Want) Rules() Rules { return w.RulesFor(NFT) }

// RulesFor returns the rules in the form for a backend: native nftables has sets.
func (w Want) RulesFor(backend Name) Rules {
	of, rules := capture.Rules, NoRules()
	if backend == NFTables {
		of = capture.ListRules
	}
	for _, f := range w.Families {
		rules[f] = of(w.config, f)
	}
	return rules
}

// tproxyRoutes is the policy routing of mode TPROXY. Nobody else uses the route that Istio
// makes by default, so it is the mesh's whoever made it.
var tproxyRoutes = netutil.TProxyRoutes{Known: netutil.TProxyRoute{Mark: capture.DefaultTProxyMark, Table: capture.DefaultTProxyTable}}
