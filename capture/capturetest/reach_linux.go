package capturetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"istio-init/iptables"
	"istio-init/netutil"
)

// What a test needs that brings servers and clients of its own into the pod.

// Addr returns the address of a host, by the name that flows use.
func Addr(host string, f iptables.Family) netip.Addr {
	a, ok := hosts[host]
	if !ok {
		panic(fmt.Sprintf("%q is no host of the network", host))
	}
	return a[f]
}

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
func (n *Node) Listen(t TB, who Identity, at netip.AddrPort, transparent bool) *net.TCPListener {
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
func (n *Node) Dial(who Identity, dst netip.AddrPort) (*net.TCPConn, error) {
	return dialTCP(n, who, dst, netip.AddrPort{}, 0)
}
