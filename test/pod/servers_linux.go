package pod

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
)

// The protocol has lines. The client sends a token. Each proxy on the path answers
// "via PORT ORIGINAL-DESTINATION", the server "end LOCAL-ADDRESS REMOTE-ADDRESS TOKEN". So
// the client sees the path of the connection, and gets its token back.

// timeout limits every wait in the truth table; it is reached only if something is broken.
const timeout = 2 * time.Second

// maxHops limits the concurrent connections of a socket of the proxy, to end a loop.
const maxHops = 32

type handler func(*Pod, *net.TCPConn) error

// serveTCP listens as a user and handles each connection in its own goroutine. The sockets
// of accepted connections belong to the user too.
func (p *Pod) serveTCP(t TB, node *Node, who flow.Identity, addr netip.AddrPort, transparent bool, handle handler) {
	t.Helper()
	e := endpoint{node, iptables.TCP, addr}
	if !p.once(e) {
		return
	}
	var listener *net.TCPListener
	err := node.As(who, func() (err error) {
		listener, err = netutil.Socket{Transparent: transparent}.ListenTCP(context.Background(), addr)
		return err
	})
	if err != nil {
		t.Fatalf("listen on %s: %v", e, err)
	}
	p.closes = append(p.closes, listener.Close)
	p.wg.Go(func() {
		// The accepting thread keeps the user's credentials, as the sockets
		// that it accepts get them.
		_ = node.As(who, func() error {
			var open atomic.Int32
			for {
				conn, err := listener.AcceptTCP()
				if err != nil {
					return err
				}
				p.wg.Go(func() {
					defer conn.Close()
					defer open.Add(-1)
					if open.Add(1) > maxHops {
						return
					}
					_ = conn.SetDeadline(time.Now().Add(timeout))
					_ = handle(p, conn) // the client sees what is missing
				})
			}
		})
	})
}

// handleEnd is the server: it answers a client.
func (p *Pod) handleEnd(conn *net.TCPConn) error { return p.answer(conn, unmap(conn.LocalAddr())) }

// answer answers a connection whose original destination is dst.
func (p *Pod) answer(conn *net.TCPConn, dst netip.AddrPort) error {
	token, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "end %s %s %s", dst, conn.RemoteAddr(), token)
	return err
}

// handleOutbound is how the proxy handles an outbound connection: it gets the original
// destination from the kernel and connects to it.
func (p *Pod) handleOutbound(conn *net.TCPConn) error {
	dst, err := netutil.OriginalDst(conn)
	if err != nil {
		return err
	}
	h := hop{port: unmap(conn.LocalAddr()).Port(), dst: dst, to: dst}
	if p.config.InboundPort == p.config.ProxyPort && flow.Device(dst.Addr()) == "lo" {
		h.to = atLocalhost(dst)
	}
	return p.proxy(conn, h)
}

// atLocalhost returns the destination of connections to the pod, for a proxy with one port
// for inbound and outbound, as in Istio 1.0.
func atLocalhost(dst netip.AddrPort) netip.AddrPort {
	family := inet.IPv4
	if dst.Addr().Is6() {
		family = inet.IPv6
	}
	return netip.AddrPortFrom(family.Localhost(), dst.Port())
}

// handleInbound is how the proxy handles an inbound connection: it connects to the app
// from the passthrough address or, in mode TPROXY, from the client's address.
func (p *Pod) handleInbound(conn *net.TCPConn) error {
	port := p.config.InboundPort
	if local := unmap(conn.LocalAddr()); p.config.Mode == capture.TProxy && local.Port() != port {
		return p.proxy(conn, hop{port, local, local, unmap(conn.RemoteAddr()).Addr(), p.config.TProxyMark})
	}
	dst, err := netutil.OriginalDst(conn)
	if err != nil {
		return err
	}
	from := netip.MustParseAddr("127.0.0.6")
	if dst.Addr().Is6() {
		from = netip.MustParseAddr("::6")
	}
	return p.proxy(conn, hop{port: port, dst: dst, to: dst, from: from})
}

// A hop is a connection at the proxy.
type hop struct {
	port    uint16         // the port of the proxy
	dst, to netip.AddrPort // the original destination, and that of the proxy's connection
	from    netip.Addr     // the source of an inbound one; not valid for an outbound one
	mark    uint32
}

// proxy connects to a destination as the proxy, optionally from an address, and forwards
// the data.
func (p *Pod) proxy(conn *net.TCPConn, h hop) error {
	if _, err := fmt.Fprintf(conn, "via %d %s\n", h.port, h.dst); err != nil {
		return err
	}
	local := flow.Device(h.dst.Addr()) == "lo"
	if p.EndsAtProxy || local && p.isProxyPort(h.dst.Port()) || !local && h.from.IsValid() {
		// The destination is the proxy's own port, which would be a loop, or inbound and not
		// the pod. Envoy refuses both too.
		return p.answer(conn, h.dst)
	}
	upstream, err := dialTCP(p.Pod, p.config.Proxy(), h.to, netip.AddrPortFrom(h.from, 0), h.mark, timeout)
	if err != nil {
		return err
	}
	defer upstream.Close()
	_ = upstream.SetDeadline(time.Now().Add(timeout))
	token, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if _, err := io.WriteString(upstream, token); err != nil {
		return err
	}
	_, err = io.Copy(conn, upstream)
	return err
}

// dialTCP connects as a user of a node, optionally from an address and a port.
func dialTCP(node *Node, who flow.Identity, dst, from netip.AddrPort, mark uint32, wait time.Duration) (conn *net.TCPConn, err error) {
	err = node.As(who, func() error {
		d := net.Dialer{Timeout: wait, Control: netutil.Socket{Transparent: from.Addr().IsValid(), Mark: mark}.Control}
		if from != (netip.AddrPort{}) {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		}
		return whileInUse(func() error {
			c, err := d.Dial(network("tcp", dst), dst.String())
			if err != nil {
				return err
			}
			conn = c.(*net.TCPConn)
			return nil
		})
	})
	return conn, err
}

// whileInUse retries until the port is free. The port of a previous flow may still be in
// use: a forked child holds all sockets of this process until its exec.
func whileInUse(try func() error) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(time.Millisecond) {
		if err := try(); !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			return err
		}
	}
}

// network returns the name of a protocol for one family alone.
func network(proto string, a netip.AddrPort) string {
	if a.Addr().Is4() {
		return proto + "4"
	}
	return proto + "6"
}

func unmap(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
