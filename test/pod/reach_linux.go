package pod

import (
	"context"
	"net"
	"net/netip"

	"istio-init/netutil"
	"istio-init/test/flow"
)

// What a test needs that brings servers and clients of its own into the pod.

// Reach gives the peer an address outside, so that connections to it arrive.
func (p *Pod) Reach(t TB, a netip.Addr) {
	t.Helper()
	if !p.known[a] {
		p.known[a] = true
		p.Peer.addAddr(t, "lo", a, a.BitLen())
	}
}

// Listen listens as a user of the namespace. A transparent socket takes
// connections whatever their destination. The socket is closed at the end.
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
	return dialTCP(n, who, dst, netip.AddrPort{}, 0)
}
