package netutil_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"istio-init/netutil"
	"istio-init/test/kernel"
)

// withLoopback makes a namespace in which lo is up.
func withLoopback(t *testing.T) *kernel.NetNS {
	t.Helper()
	ns := kernel.NewNetNS(t)
	ns.Run(t, "", "ip", "link", "set", "lo", "up")
	return ns
}

func TestSocketOwner(t *testing.T) {
	t.Parallel()
	kernel.Need(t)
	ids := func() [2]uint32 {
		p, err := netutil.SocketPowers()
		if err != nil {
			t.Fatal(err)
		}
		return [2]uint32{p.UID, p.GID}
	}
	failed := errors.New("what fn returns")
	var inside [2]uint32
	err := netutil.AsOwner(1337, 4294967294, func() error {
		inside = ids()
		return failed
	})
	if want := [2]uint32{1337, 4294967294}; inside != want || !errors.Is(err, failed) {
		t.Errorf("inside %v, want %v; returned %v", inside, want, err)
	}
	if after := ids(); after != [2]uint32{} {
		t.Errorf("after it sockets belong to %v, want root", after)
	}
}

func TestConnectionIsEstablishedAfterAccept(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		withLoopback(t).Do(t, func() error {
			socket := netutil.Socket{Transparent: true, Mark: 7, Hops: 1}
			listener, err := socket.ListenTCP(t.Context(), netip.MustParseAddrPort(address))
			if err != nil {
				return err
			}
			defer listener.Close()
			to := listener.Addr().(*net.TCPAddr).AddrPort()
			conn, err := socket.Connect("tcp", to.Addr(), to)
			if err != nil {
				return err
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "hello"); err != nil {
				return err
			}
			if !conn.Connected() {
				t.Errorf("%s: written to, and not connected", to)
			}
			accepted, err := listener.Accept()
			if err != nil {
				return err
			}
			defer accepted.Close()
			heard := make([]byte, 5)
			if _, err := io.ReadFull(accepted, heard); err != nil || string(heard) != "hello" {
				t.Errorf("%s: heard %q: %v", to, heard, err)
			}
			return nil
		})
	}
}

func TestRefusedConnectionReturnsItsError(t *testing.T) {
	t.Parallel()
	withLoopback(t).Do(t, func() error {
		conn, err := netutil.Socket{}.Connect("tcp", netip.Addr{}, netip.MustParseAddrPort("127.0.0.1:9"))
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(conn, "hello"); !errors.Is(err, unix.ECONNREFUSED) || conn.Connected() {
			t.Errorf("got %v, want %v; connected: %t", err, unix.ECONNREFUSED, conn.Connected())
		}
		return nil
	})
}

func TestSocketRouteIsTheKernelsRoute(t *testing.T) {
	t.Parallel()
	ns := withLoopback(t)
	ns.Run(t, "", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	ns.Run(t, "", "ip", "addr", "add", "10.1.0.2/24", "dev", "eth0")
	ns.Run(t, "", "ip", "-6", "addr", "add", "fd00::2/64", "dev", "eth0", "nodad")
	ns.Run(t, "", "ip", "link", "set", "eth1", "up")
	ns.Run(t, "", "ip", "link", "set", "eth0", "up")
	ns.Run(t, "", "ip", "route", "add", "blackhole", "10.2.0.0/16")
	ns.Run(t, "", "ip", "-6", "route", "add", "unreachable", "fd02::/16")
	tests := []struct{ to, device, src string }{
		{"127.0.0.6", "lo", "127.0.0.1"},
		{"10.1.0.2", "lo", "10.1.0.2"},
		{"fd00::2", "lo", "fd00::2"},
		{"10.1.0.9", "eth0", "10.1.0.2"},
		{"fd00::9", "eth0", "fd00::2"},
		{"192.0.2.1", "", ""},
		{"2001:db8::1", "", ""},
		{"10.2.0.1", "", ""},
		{"fd02::1", "", ""},
	}
	ns.Do(t, func() error {
		for _, tt := range tests {
			path, err := netutil.PathTo(netip.MustParseAddr(tt.to))
			src := ""
			if path.Src.IsValid() {
				src = path.Src.String()
			}
			if path.Interface != tt.device || src != tt.src || (err != nil) != (tt.device == "") {
				t.Errorf("to %s: %s from %s, want %s from %s: %v", tt.to, path.Interface, src, tt.device, tt.src, err)
			}
		}
		return nil
	})
}
