package main

import (
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"istio-init/netutil"
)

// A Connection is what a new connection of the app through the rules takes, in microseconds.
type Connection struct {
	Backend   string  `json:"backend"` // "": no rules
	List      string  `json:"list"`    // what is excluded: prefixes, ports or groups
	N         int     `json:"n"`
	Connect   float64 `json:"connectUs"`   // connect(2) until it is established with the proxy
	RoundTrip float64 `json:"roundTripUs"` // a byte to the proxy and one back
}

// excluded are the measured lists; the destination of the connection is in none.
var excluded = []struct {
	list  string
	sizes []int
	name  string // of the variable
	of    func(from, n int) string
}{
	{"prefixes", []int{0, 10, 100, 1000, 5000}, "ISTIO_SERVICE_EXCLUDE_CIDR", prefixes},
	{"ports", []int{10, 100, 500}, "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE", ports},
	{"groups", []int{10, 100, 1000}, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", groups},
}

// A client is a pod with rules that opens connections, and listens in place of the proxy.
type client struct {
	Connection
	*namespace
	listener          int
	connects, replies []float64
}

// measureConnections measures connections in turn through all rules.
func (b *bench) measureConnections(r *Result) error {
	clients, err := b.clients()
	for _, c := range clients {
		defer c.close()
	}
	if err != nil {
		return err
	}
	const warmUp, each = 1, 200
	for round := range b.rounds + warmUp {
		for i := range clients {
			c := clients[(i+round)%len(clients)]
			if round == warmUp {
				c.connects, c.replies = nil, nil
			}
			if err := netutil.InNetNS(c.path(), func() error { return c.connect(each) }); err != nil {
				return err
			}
		}
	}
	for _, c := range clients {
		c.Connect, c.RoundTrip = spreadOf(c.connects).Median, spreadOf(c.replies).Median
		r.Connections = append(r.Connections, c.Connection)
	}
	return nil
}

func (b *bench) clients() (all []*client, err error) {
	for _, backend := range backends {
		for _, e := range excluded {
			for _, n := range e.sizes {
				w := workload{Family: "ipv4", Backend: backend, first: with()}
				c, err := newClient(Connection{Backend: backend, List: e.list, N: n})
				if err != nil {
					return all, err
				}
				all = append(all, c)
				if _, err = b.run(c.namespace, []step{{{path: b.ours, args: w.args("apply"), env: []string{e.name + "=" + e.of(0, n)}}}}); err != nil {
					return all, err
				}
			}
		}
	}
	return all, nil
}

// Addresses of the pod, of its router and of a server. No list has them.
var (
	podAddr    = net.IPv4(172, 31, 0, 2)
	routerAddr = net.IPv4(172, 31, 0, 1)
	server     = unix.SockaddrInet4{Port: 80, Addr: [4]byte{192, 0, 2, 1}}
)

// newClient makes a pod with a route out and a listener at the port of the proxy.
func newClient(of Connection) (*client, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	c := &client{Connection: of, namespace: ns}
	return c, netutil.InNetNS(ns.path(), func() (err error) {
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "router"}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		for _, name := range []string{"eth0", "router"} {
			if err := linkUp(name); err != nil {
				return err
			}
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: podAddr, Mask: net.CIDRMask(24, 32)}}); err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{Gw: routerAddr}); err != nil {
			return err
		}
		if c.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(c.listener, &unix.SockaddrInet4{Port: 15001}); err != nil {
			return err
		}
		return unix.Listen(c.listener, 128)
	})
}

func (c *client) close() {
	_ = unix.Close(c.listener)
	c.namespace.close()
}

// connect opens connections one after the other. One thread has both ends, so that the time
// is that of the kernel and of no other thread.
func (c *client) connect(n int) error {
	for range n {
		if err := c.once(); err != nil {
			return fmt.Errorf("%s, %d %s: %w", c.Backend, c.N, c.List, err)
		}
	}
	return nil
}

func (c *client) once() error {
	app, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(app)
	if err := unix.SetsockoptLinger(app, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil { // no TIME_WAIT
		return err
	}
	began := time.Now()
	if err := unix.Connect(app, &server); err != nil {
		return err
	}
	c.connects = append(c.connects, float64(time.Since(began).Nanoseconds())/1000)
	proxy, _, err := unix.Accept(c.listener)
	if err != nil {
		return err
	}
	defer unix.Close(proxy)
	var data [1]byte
	began = time.Now()
	for _, ends := range [][2]int{{app, proxy}, {proxy, app}} {
		if _, err := unix.Write(ends[0], data[:]); err != nil {
			return err
		}
		if _, err := unix.Read(ends[1], data[:]); err != nil {
			return err
		}
	}
	c.replies = append(c.replies, float64(time.Since(began).Nanoseconds())/1000)
	return nil
}
