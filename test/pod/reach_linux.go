package pod

import (
	"context"
	"net"
	"net/netip"

	"istio-init/netutil"
	"istio-init/test/flow"
)

// For tests with their own servers and clients in the pod.

// Reach gives the peer an outside address, so that connections to it arrive.
func (p *Pod) Reach(t TB, a netip.Addr) {
	t.Helper()
	if !p.known[a] {
		p.known[a] = true
		p.Peer.addAddr(t, "lo", a, a.BitLen())
		p.Peer.settle(t)
	}
}

// Listen listens as a user of the namespace. A transparent socket accepts connections to
// any destination. The socket is closed at the end of the test.
func (n *Node) Listen(t TB, who flow.Identity, at netip.AddrPort, transparent bool) *net.TCPListener {
	t.Helper()
	var listener *net.TCPListener
	err := n.As(who, func() (err error) {
		listener, err = netutil.Socket{Transparent: transparent}.ListenTCP(context.Background(), at)
		return err
	})
	if err != nil {
		t.Fatalf("listen on %s in %s: %v", at, n.name, err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// Dial connects as a user of the namespace.
func (n *Node) Dial(who flow.Identity, dst netip.AddrPort) (*net.TCPConn, error) {
	return dialTCP(n, who, dst, netip.AddrPort{}, 0, timeout)
}

// ListenUDP takes packets as a user of the namespace.
func (n *Node) ListenUDP(who flow.Identity, at netip.AddrPort) (conn *net.UDPConn, err error) {
	err = n.As(who, func() error {
		return whileInUse(func() (err error) {
			conn, err = net.ListenUDP(network("udp", at), net.UDPAddrFromAddrPort(at))
			return err
		})
	})
	return conn, err
}

// DialUDP makes a UDP socket for one destination as a user of the namespace.
func (n *Node) DialUDP(who flow.Identity, dst, from netip.AddrPort) (conn *net.UDPConn, err error) {
	err = n.As(who, func() error {
		return whileInUse(func() (err error) {
			conn, err = net.DialUDP(network("udp", dst), net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(dst))
			return err
		})
	})
	return conn, err
}
