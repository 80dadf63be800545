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

// A track is a pod with rules and a listener in place of the proxy.
type track struct {
	Connection
	*place
	listener          int
	connects, replies []float64
}

// measureConnections measures connections in turn through all rules.
func (b *bench) measureConnections(r *Result) error {
	tracks, err := b.tracks()
	for _, t := range tracks {
		defer t.close()
	}
	if err != nil {
		return err
	}
	const warmUp, each = 1, 200
	for round := range b.rounds + warmUp {
		for i := range tracks {
			t := tracks[(i+round)%len(tracks)]
			if round == warmUp {
				t.connects, t.replies = nil, nil
			}
			if err := netutil.InNetNS(t.path(), func() error { return t.connect(each) }); err != nil {
				return err
			}
		}
	}
	for _, t := range tracks {
		t.Connect, t.RoundTrip = spreadOf(t.connects).Median, spreadOf(t.replies).Median
		r.Connections = append(r.Connections, t.Connection)
	}
	return nil
}

func (b *bench) tracks() (all []*track, err error) {
	for _, backend := range backends {
		for _, e := range excluded {
			for _, n := range e.sizes {
				l := life{Family: "ipv4", Backend: backend, first: with()}
				t, err := newTrack(Connection{Backend: backend, List: e.list, N: n})
				if err != nil {
					return all, err
				}
				all = append(all, t)
				if _, err = b.run(t.place, []step{{{path: b.ours, args: l.args("apply"), env: []string{e.name + "=" + e.of(0, n)}}}}); err != nil {
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

// newTrack makes a pod with a route out and a listener at the port of the proxy.
func newTrack(c Connection) (*track, error) {
	p, err := newPlace()
	if err != nil {
		return nil, err
	}
	t := &track{Connection: c, place: p}
	return t, netutil.InNetNS(p.path(), func() (err error) {
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
		if t.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(t.listener, &unix.SockaddrInet4{Port: 15001}); err != nil {
			return err
		}
		return unix.Listen(t.listener, 128)
	})
}

func (t *track) close() {
	_ = unix.Close(t.listener)
	t.place.close()
}

// connect opens connections one after the other. One thread has both ends, so that the time
// is that of the kernel and of no other thread.
func (t *track) connect(n int) error {
	for range n {
		if err := t.once(); err != nil {
			return fmt.Errorf("%s, %d %s: %w", t.Backend, t.N, t.List, err)
		}
	}
	return nil
}

func (t *track) once() error {
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
	t.connects = append(t.connects, float64(time.Since(began).Nanoseconds())/1000)
	proxy, _, err := unix.Accept(t.listener)
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
	t.replies = append(t.replies, float64(time.Since(began).Nanoseconds())/1000)
	return nil
}
