package netutil

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"istio-init/netutil/inet"
)

// A TProxyRoute delivers packets with a mark to this machine whatever their
// destination: the policy rule "fwmark MARK lookup TABLE" and in that table the
// route "local default dev lo". The zero value is none.
type TProxyRoute struct{ Mark, Table uint32 }

// TProxyRoutes is the policy routing for TPROXY of the namespace: all rules and
// routes that this program made, and a route that is known as the mesh's whoever made
// it.
type TProxyRoutes struct{ Known TProxyRoute }

// routeProtocol marks rules and routes as made by us (rtnetlink(7),
// rtm_protocol; the number is assigned to nobody), so that they are found again
// without knowing the mark and table of the run that made them.
const routeProtocol = 133

// Commands returns the route in the syntax of ip-rule(8) and ip-route(8).
func (r TProxyRoute) Commands(f inet.Family) []string {
	ip := "ip"
	if f == inet.IPv6 {
		ip = "ip -6"
	}
	return []string{
		fmt.Sprintf("%s rule add fwmark %#x lookup %d protocol %d", ip, r.Mark, r.Table, routeProtocol),
		fmt.Sprintf("%s route add local default dev lo table %d protocol %d", ip, r.Table, routeProtocol),
	}
}

// Add adds what is missing of a route in one family. The route comes
// before the rule that leads to it, so that no packet finds an empty table.
func (t TProxyRoutes) Add(f inet.Family, r TProxyRoute) (Undo, error) {
	routes, err := t.routes(f)
	if err != nil {
		return nil, err
	}
	rules, err := t.rules(f)
	if err != nil {
		return nil, err
	}
	var undo Undo
	if !contains(routes, r.Table, func(x netlink.Route) uint32 { return uint32(x.Table) }) {
		route, err := newTProxyRoute(f, r.Table)
		if err != nil {
			return nil, err
		}
		switch err := netlink.RouteAdd(route); {
		case errors.Is(err, unix.EEXIST):
			if err := t.routeIsThere(f, r.Table); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, fmt.Errorf("add local default route in table %d %s: %w", r.Table, needsLo(f, ", and lo up", err), err)
		default:
			undo = undo.then(func() error { return deleteRoute(route) })
		}
	}
	if !contains(rules, r, ruleRoute) {
		rule := netlink.NewRule()
		rule.Family, rule.Mark, rule.Table, rule.Protocol = addressFamilies[f], r.Mark, int(r.Table), routeProtocol
		if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
			return undo, fmt.Errorf("add rule fwmark %#x lookup %d %s: %w", r.Mark, r.Table, NeedsNetAdmin("", err), err)
		}
		undo = undo.then(func() error { return deleteRule(rule) })
	}
	return undo, nil
}

// routeIsThere tells a route that another run was quicker to add from one that
// somebody else has in its place.
func (t TProxyRoutes) routeIsThere(f inet.Family, table uint32) error {
	routes, err := t.routes(f)
	if err == nil && !contains(routes, table, func(x netlink.Route) uint32 { return uint32(x.Table) }) {
		err = &ForeignRouteError{table}
	}
	return err
}

// A ForeignRouteError says that a routing table has a foreign default route in the place
// of ours.
type ForeignRouteError struct{ Table uint32 }

func (e *ForeignRouteError) Error() string {
	return fmt.Sprintf("table %d has another default route", e.Table)
}

// ForeignRoute returns the routing table.
func (e *ForeignRouteError) ForeignRoute() (table uint32) { return e.Table }

// Remove removes our policy rules and routes of one family, except one to keep (zero: none).
// It removes the copies of that one: Istio adds a policy rule with every run.
func (t TProxyRoutes) Remove(f inet.Family, keep TProxyRoute) (Undo, error) {
	if there, err := t.in(f); err != nil || !there {
		return nil, err
	}
	rules, err := t.rules(f)
	if err != nil {
		return nil, err
	}
	var undo Undo
	kept := false
	for _, rule := range rules {
		if ruleRoute(rule) == keep && !kept {
			kept = true
			continue
		}
		if err := deleteRule(&rule); err != nil {
			return undo, err
		}
		undo = undo.then(func() error { return netlink.RuleAdd(&rule) })
	}
	routes, err := t.routes(f)
	if err != nil {
		return undo, err
	}
	for _, route := range routes {
		if uint32(route.Table) == keep.Table {
			continue
		}
		if err := deleteRoute(&route); err != nil {
			return undo, err
		}
		undo = undo.then(func() error { return netlink.RouteAdd(&route) })
	}
	return undo, nil
}

// deleteRule and deleteRoute are content when somebody else was quicker.
func deleteRule(rule *netlink.Rule) error {
	if err := netlink.RuleDel(rule); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove rule fwmark %#x lookup %d %s: %w", rule.Mark, rule.Table, NeedsNetAdmin("", err), err)
	}
	return nil
}

func deleteRoute(route *netlink.Route) error {
	if err := netlink.RouteDel(route); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove local default route in table %d %s: %w", route.Table, NeedsNetAdmin("", err), err)
	}
	return nil
}

// Families tells in which families a policy rule or route is ours, of both at the
// cost of one. A family that is not there has none.
func (t TProxyRoutes) Families() (there inet.PerFamily[bool], err error) {
	rules, err := listed(unix.RTM_GETRULE, unix.AF_UNSPEC, unix.SizeofRtMsg)
	if err != nil {
		return there, fmt.Errorf("list policy rules: %w", err)
	}
	mark := func(o object, ours bool) {
		if i := slices.Index(addressFamilies[:], int(o.fixed[0])); i >= 0 && ours {
			there[i] = true
		}
	}
	for _, o := range rules {
		protocol := o.attr(unix.FRA_PROTOCOL)
		mark(o, len(protocol) == 1 && protocol[0] == routeProtocol ||
			(TProxyRoute{o.number(unix.FRA_FWMARK), o.number(unix.FRA_TABLE)}) == t.Known)
	}
	routes, err := listed(unix.RTM_GETROUTE, unix.AF_UNSPEC, unix.SizeofRtMsg)
	if err != nil {
		return there, fmt.Errorf("list routes: %w", err)
	}
	for _, o := range routes { // the fixed part is struct rtmsg of rtnetlink(7)
		length, protocol, kind := o.fixed[1], o.fixed[5], o.fixed[7]
		mark(o, length == 0 && kind == unix.RTN_LOCAL && (protocol == routeProtocol || o.number(unix.RTA_TABLE) == t.Known.Table))
	}
	return there, nil
}

// rules lists the policy rules that are ours.
func (t TProxyRoutes) rules(f inet.Family) ([]netlink.Rule, error) {
	all, err := complete(func() ([]netlink.Rule, error) { return netlink.RuleList(addressFamilies[f]) })
	if err != nil {
		return nil, fmt.Errorf("list policy rules: %w", err)
	}
	var ours []netlink.Rule
	for _, rule := range all {
		rule.Family = addressFamilies[f]
		if rule.Protocol == routeProtocol || ruleRoute(rule) == t.Known {
			ours = append(ours, rule)
		}
	}
	return ours, nil
}

// routes lists the local default routes that are ours, of all tables.
func (t TProxyRoutes) routes(f inet.Family) ([]netlink.Route, error) {
	all, err := complete(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(addressFamilies[f], &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var ours []netlink.Route
	for _, route := range all {
		everything := route.Dst == nil
		if !everything {
			ones, _ := route.Dst.Mask.Size()
			everything = ones == 0
		}
		if everything && route.Type == unix.RTN_LOCAL &&
			(route.Protocol == routeProtocol || uint32(route.Table) == t.Known.Table) {
			ours = append(ours, route)
		}
	}
	return ours, nil
}

func newTProxyRoute(f inet.Family, table uint32) (*netlink.Route, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find the loopback interface: %w", err)
	}
	everything := &net.IPNet{IP: f.Any().AsSlice(), Mask: net.CIDRMask(0, f.Bits())}
	return &netlink.Route{
		Family: addressFamilies[f], Dst: everything, LinkIndex: lo.Attrs().Index, Type: unix.RTN_LOCAL,
		Scope: unix.RT_SCOPE_HOST, Table: int(table), Protocol: routeProtocol,
	}, nil
}

// ruleRoute returns the mark and table of a policy rule.
func ruleRoute(rule netlink.Rule) TProxyRoute {
	return TProxyRoute{Mark: rule.Mark, Table: uint32(rule.Table)}
}

// addressFamilies are the families as the kernel numbers them (socket(2)).
var addressFamilies = inet.PerFamily[int]{unix.AF_INET, unix.AF_INET6}

// in is Families for one family.
func (t TProxyRoutes) in(f inet.Family) (bool, error) {
	there, err := t.Families()
	return there[f], err
}

// contains reports whether one of the items has the key.
func contains[T any, K comparable](items []T, key K, of func(T) K) bool {
	for _, item := range items {
		if of(item) == key {
			return true
		}
	}
	return false
}
