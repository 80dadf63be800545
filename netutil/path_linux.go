package netutil

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Path is how packets to an address leave: the interface, "lo" for an address of
// the machine itself, and the source address that the kernel picks.
type Path struct {
	Interface string
	Src       netip.Addr
}

// A RouteQuery is what the kernel chooses a route by (inet_rtm_getroute in
// net/ipv4/route.c, inet6_rtm_getroute in net/ipv6/route.c).
type RouteQuery struct {
	Proto    uint8          // zero: any
	Src, Dst netip.AddrPort // Src: zero before the kernel picks it
	Mark     uint32
	UID      uint32 // of the socket that sends; not used with In
	In, Out  string // the interface by which the packet came, or to which the socket is bound
}

// Errors of [Route], as the kernel says them (net/ipv4/route.c, net/ipv4/fib_semantics.c,
// net/ipv6/route.c). Every other one is that there is no route.
const (
	ErrUnreachable = unix.EHOSTUNREACH // a route of that type, or no forwarding
	ErrBlackhole   = unix.EINVAL       // likewise, or a source that is not valid
	ErrProhibited  = unix.EACCES
	ErrSource      = unix.EXDEV  // the source is not one of that interface
	ErrNoInterface = unix.ENODEV // it is not there
)

// PathTo asks the kernel for the way to an address, which needs no capability. The
// error is the kernel's where there is none.
func PathTo(dst netip.Addr) (Path, error) {
	return Route(RouteQuery{Dst: netip.AddrPortFrom(dst, 0), UID: uint32(os.Geteuid())})
}

// Route asks the kernel for a route, which needs no capability. Where there is none, the
// error is that of the kernel: ENETUNREACH for no route, and EHOSTUNREACH, EINVAL or
// EACCES for a route of type unreachable, blackhole or prohibit (ip-route(8)). It is ENODEV
// for an interface that is not there.
func Route(q RouteQuery) (Path, error) {
	req, err := q.request()
	if err != nil {
		return Path{}, err
	}
	answers, err := execute(req, unix.NETLINK_ROUTE)
	if err != nil {
		return Path{}, fmt.Errorf("no route to %s: %w", q.Dst.Addr(), err)
	}
	if len(answers) == 0 || len(answers[0]) < unix.SizeofRtMsg {
		return Path{}, fmt.Errorf("no route to %s", q.Dst.Addr())
	}
	o := object{answers[0][:unix.SizeofRtMsg], answers[0][unix.SizeofRtMsg:]}
	src, _ := netip.AddrFromSlice(o.attr(unix.RTA_PREFSRC))
	switch kind := o.fixed[7]; {
	case kind == unix.RTN_LOCAL: // in IPv6 it may name the interface that has the address
		return Path{"lo", src.Unmap()}, nil
	case kind == unix.RTN_UNICAST, // TCP goes to no other (tcp_v4_connect, tcp_v6_connect)
		q.Proto == unix.IPPROTO_UDP && q.In == "" && kind == unix.RTN_MULTICAST:
		l, err := netlink.LinkByIndex(int(o.number(unix.RTA_OIF)))
		if err != nil {
			return Path{}, fmt.Errorf("route to %s: %w", q.Dst.Addr(), err)
		}
		return Path{l.Attrs().Name, src.Unmap()}, nil
	}
	return Path{}, fmt.Errorf("no route to %s that leads to one machine: %w", q.Dst.Addr(), unix.ENETUNREACH)
}

// request returns the query as a message of rtnetlink(7). A source address in the query
// is bound, so that the kernel does not look for the interface that has it.
func (q RouteQuery) request() (*nl.NetlinkRequest, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, 0)
	dst := q.Dst.Addr().AsSlice()
	msg := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(nl.GetIPFamily(dst)), Dst_len: uint8(q.Dst.Addr().BitLen())}}
	number := func(kind int, n uint32) { req.AddData(nl.NewRtAttr(kind, nl.Uint32Attr(n))) }
	port := func(kind int, n uint16) { req.AddData(nl.NewRtAttr(kind, binary.BigEndian.AppendUint16(nil, n))) }
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_DST, dst))
	if src := q.Src.Addr(); src.IsValid() {
		msg.Src_len = uint8(src.BitLen())
		req.AddData(nl.NewRtAttr(unix.RTA_SRC, src.AsSlice()))
	}
	for kind, name := range map[int]string{unix.RTA_IIF: q.In, unix.RTA_OIF: q.Out} {
		if name == "" {
			continue
		}
		l, err := netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			err = unix.ENODEV
		}
		if err != nil {
			return nil, fmt.Errorf("find interface %s: %w", name, err)
		}
		number(kind, uint32(l.Attrs().Index))
	}
	if q.In == "" {
		number(unix.RTA_UID, q.UID)
	}
	if q.Mark != 0 {
		number(unix.RTA_MARK, q.Mark)
	}
	if q.Proto == unix.IPPROTO_TCP || q.Proto == unix.IPPROTO_UDP {
		req.AddData(nl.NewRtAttr(unix.RTA_IP_PROTO, []byte{q.Proto}))
		if q.Src.Port() != 0 {
			port(unix.RTA_SPORT, q.Src.Port())
		}
		if q.Dst.Port() != 0 {
			port(unix.RTA_DPORT, q.Dst.Port())
		}
	}
	return req, nil
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
