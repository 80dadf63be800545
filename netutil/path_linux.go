package netutil

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Path is how packets to an address leave: the interface, "lo" for an address of
// the machine itself, and the source address that the kernel picks.
type Path struct {
	Interface string
	Src       netip.Addr
}

// PathTo asks the kernel for the way to an address, which needs no capability. The
// error is the kernel's where there is none.
func PathTo(dst netip.Addr) (Path, error) {
	routes, err := netlink.RouteGet(dst.AsSlice())
	if err != nil {
		return Path{}, fmt.Errorf("no route to %s: %w", dst, err)
	}
	if len(routes) == 0 {
		return Path{}, fmt.Errorf("no route to %s", dst)
	}
	r := routes[0]
	src, _ := netip.AddrFromSlice(r.Src)
	switch r.Type {
	case unix.RTN_LOCAL: // in IPv6 it may name the interface that has the address
		return Path{"lo", src.Unmap()}, nil
	case unix.RTN_UNICAST:
		l, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			return Path{}, fmt.Errorf("route to %s: %w", dst, err)
		}
		return Path{l.Attrs().Name, src.Unmap()}, nil
	}
	return Path{}, fmt.Errorf("no route to %s: none that leads to one machine", dst)
}

// AwaitLoopbackAddr waits until packets for an IPv6 address are taken, where it is one
// of the namespace. One that was just added can be bound to at once; its local route
// the kernel adds later, in a worker that the whole machine shares (addrconf_dad_work
// in net/ipv6/addrconf.c). The error is that of the context, or says that the
// namespace cannot be read.
func AwaitLoopbackAddr(ctx context.Context, a netip.Addr) error {
	_, found, err := findAddr(a)
	if err != nil || !found {
		return err
	}
	tick := time.NewTicker(time.Millisecond) // nothing tells when it is there
	defer tick.Stop()
	for {
		routes, err := netlink.RouteGet(a.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the route to %s: %w", a, ctx.Err())
		case <-tick.C:
		}
	}
}
