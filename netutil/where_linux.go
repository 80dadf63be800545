package netutil

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteTo returns the interface by which the namespace reaches an address, and the
// source address that it picks. For an address of its own the interface is "lo".
// Without a route, or by one that says unreachable, prohibit or blackhole, the
// interface is "" (the errors of fib_props in net/ipv4/fib_semantics.c).
func RouteTo(dst netip.Addr) (device string, src netip.Addr, err error) {
	routes, err := netlink.RouteGet(net.IP(dst.AsSlice()))
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EINVAL):
		return "", netip.Addr{}, nil
	case err != nil:
		return "", netip.Addr{}, fmt.Errorf("find the route to %s: %w", dst, err)
	case len(routes) == 0:
		return "", netip.Addr{}, nil
	}
	src, _ = netip.AddrFromSlice(routes[0].Src)
	src = src.Unmap()
	if routes[0].Type == unix.RTN_LOCAL {
		return "lo", src, nil
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", src, fmt.Errorf("find the interface to %s: %w", dst, err)
	}
	return link.Attrs().Name, src, nil
}

// A Routing is what of the policy routing for TPROXY stands in one family.
type Routing struct {
	Rules  []TProxyRoute // policy rules, in their order, repeated ones too
	Tables []uint32      // tables with a local default route
}

// LookAtTProxyRoutes returns what is ours, or Istio's, of one family. A family
// that is not there has none.
func LookAtTProxyRoutes(v6 bool) (Routing, error) {
	var r Routing
	rules, err := tproxyRules(v6)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	routes, err := tproxyRoutes(v6)
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
	return there, there && addr.Flags&unix.IFA_F_DEPRECATED != 0, err
}
