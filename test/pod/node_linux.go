package pod

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"istio-init/netutil"
	"istio-init/test/flow"
)

// A Node is a network namespace of the test. It ends with its last user: nothing has to be
// removed.
type Node struct {
	name   string
	handle netns.NsHandle
	ports  atomic.Int32 // how many newPort returned
}

// newNode makes a namespace with its loopback interface up.
func newNode(t TB, name string) *Node {
	t.Helper()
	n := &Node{name: name}
	done := make(chan error, 1)
	go func() {
		// The thread is in the new namespace then and has to end with its
		// goroutine, so it is not unlocked.
		runtime.LockOSThread()
		var err error
		n.handle, err = netns.New()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("make network namespace %s: %v", name, err)
	}
	t.Cleanup(func() { n.handle.Close() })
	// Link-local addresses, which a router needs for neighbour discovery, are usable at
	// once: no other node can have them.
	n.sysctl(t, "ipv6/conf/default/accept_dad", "0")
	// The machine's is inherited, and breaks mode TPROXY.
	n.sysctl(t, "ipv4/conf/all/src_valid_mark", "0")
	n.sysctl(t, "ipv4/conf/default/src_valid_mark", "0")
	n.Do(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return n
}

// newPort returns another port each time, below those that the kernel picks.
func (n *Node) newPort() int { return 20000 + int(n.ports.Add(1)) }

// Path returns a file of the namespace, for this process and its children.
func (n *Node) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.handle)) }

// Do runs fn inside the namespace and fails the test with its error.
func (n *Node) Do(t TB, fn func() error) {
	t.Helper()
	if err := netutil.InNetNS(n.Path(), fn); err != nil {
		t.Fatalf("in %s: %v", n.name, err)
	}
}

// As runs fn inside the namespace as a user and a group: sockets that it makes
// are theirs for the owner match.
func (n *Node) As(who flow.Identity, fn func() error) error {
	return netutil.InNetNS(n.Path(), func() error { return netutil.AsOwner(who.UID, who.GID, fn) })
}

// link joins two namespaces by a pair of interfaces.
func link(t TB, a *Node, nameA string, b *Node, nameB string) {
	t.Helper()
	a.Do(t, func() error {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: nameA, TxQLen: 1000}, PeerName: nameB,
			PeerNamespace: netlink.NsFd(int(b.handle)),
		}
		return netlink.LinkAdd(veth)
	})
	for _, end := range []struct {
		node *Node
		name string
	}{{a, nameA}, {b, nameB}} {
		end.node.Do(t, func() error {
			l, err := netlink.LinkByName(end.name)
			if err != nil {
				return err
			}
			return netlink.LinkSetUp(l)
		})
	}
}

// addAddr gives an interface of a namespace an address, at once usable.
func (n *Node) addAddr(t TB, device string, addr netip.Addr, bits int) {
	t.Helper()
	n.Do(t, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		a := &netlink.Addr{IPNet: ipNet(addr, bits)}
		if addr.Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(l, a); err != nil {
			return fmt.Errorf("add %s/%d to %s: %w", addr, bits, device, err)
		}
		return nil
	})
}

// settle waits until the namespace accepts packets for its IPv6 addresses, and has
// link-local ones, which a router needs for neighbour discovery. The kernel adds them
// asynchronously, in a workqueue of the whole machine (addrconf_dad_work in
// net/ipv6/addrconf.c).
func (n *Node) settle(t TB) {
	t.Helper()
	n.Do(t, func() error {
		deadline := time.Now().Add(10 * time.Second)
		for {
			unrouted, err := unroutedV6()
			if err != nil || len(unrouted) == 0 {
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("no packets are taken for %v", unrouted)
			}
			time.Sleep(time.Millisecond) // the kernel has no event for all of them
		}
	})
}

// unroutedV6 returns the IPv6 addresses of the namespace that have no local route,
// and the interfaces that have no link-local address.
func unroutedV6() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return nil, err
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6,
		&netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil {
		return nil, err
	}
	routed := map[string]bool{}
	for _, r := range routes {
		if r.Dst != nil {
			routed[r.Dst.IP.String()] = true
		}
	}
	var unrouted []string
	for _, a := range addrs {
		if ip := a.IP.String(); !routed[ip] {
			unrouted = append(unrouted, ip)
		}
	}
	for _, l := range links {
		if name := l.Attrs().Name; name != "lo" && !slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
			return a.LinkIndex == l.Attrs().Index && a.IP.IsLinkLocalUnicast()
		}) {
			unrouted = append(unrouted, name)
		}
	}
	return unrouted, nil
}

// addRoute sends packets for a prefix (of 0 bits: all) to a gateway.
func (n *Node) addRoute(t TB, dst netip.Prefix, via netip.Addr) {
	t.Helper()
	n.Do(t, func() error {
		r := &netlink.Route{Dst: ipNet(dst.Addr(), dst.Bits()), Gw: via.AsSlice()}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("add route %s via %s: %w", dst, via, err)
		}
		return nil
	})
}

// forward makes the namespace a router.
func (n *Node) forward(t TB) {
	t.Helper()
	n.sysctl(t, "ipv4/ip_forward", "1")
	n.sysctl(t, "ipv6/conf/all/forwarding", "1")
}

// sysctl sets a value below net.
func (n *Node) sysctl(t TB, name, value string) {
	t.Helper()
	n.Do(t, func() error {
		// /proc/sys/net is that of the thread that opens it.
		return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
	})
}

func ipNet(a netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}
}
