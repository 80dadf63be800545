package netutil

import "istio-init/netutil/inet"

// A Routing is what of the policy routing for TPROXY stands in one family.
type Routing struct {
	Rules  []TProxyRoute // policy rules, in their order, repeated ones too
	Tables []uint32      // tables with a local default route
}

// LookAtTProxyRoutes returns what is ours, or Istio's, of one family. A family
// that is not there has none.
func LookAtTProxyRoutes(f inet.Family) (Routing, error) {
	var r Routing
	if there, err := hasTProxyRoute(f); err != nil || !there {
		return r, err
	}
	rules, err := tproxyRules(f)
	if err != nil {
		return r, err
	}
	routes, err := tproxyRoutes(f)
	if err != nil {
		return r, err
	}
	for _, rule := range rules {
		r.Rules = append(r.Rules, ruleRoute(rule))
	}
	for _, route := range routes {
		r.Tables = append(r.Tables, uint32(route.Table))
	}
	return r, nil
}

// LookAtPassthroughV6 tells whether [PassthroughV6] is there, and whether it is as
// [AddPassthroughV6] adds it.
func LookAtPassthroughV6() (there, ours bool, err error) {
	addr, there, err := passthroughV6()
	return there, there && addr.deprecated(), err
}
