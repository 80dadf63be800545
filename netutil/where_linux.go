package netutil

import (
	"net/netip"

	"istio-init/netutil/inet"
)

// A Routing is what of the policy routing for TPROXY stands in one family.
type Routing struct {
	Rules  []TProxyRoute // policy rules, in their order, repeated ones too
	Tables []uint32      // tables with a local default route
}

// List returns our policy rules and routes of one family: none where the kernel has no such
// family.
func (t TProxyRoutes) List(f inet.Family) (Routing, error) {
	var r Routing
	if there, err := t.in(f); err != nil || !there {
		return r, err
	}
	rules, err := t.rules(f)
	if err != nil {
		return r, err
	}
	routes, err := t.routes(f)
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

// FindLoopbackAddr reports whether the loopback interface has an IPv6 address, and
// whether it is as [AddLoopbackAddr] adds it.
func FindLoopbackAddr(a netip.Addr) (found, ours bool, err error) {
	addr, found, err := findAddr(a)
	return found, found && addr.deprecated(), err
}
