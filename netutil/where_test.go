package netutil_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// ip runs ip(8) in a namespace, once for each line.
func ip(t *testing.T, ns *kernel.NetNS, lines ...string) {
	t.Helper()
	for _, line := range lines {
		ns.Run(t, "", "ip", strings.Fields(line)...)
	}
}

// routeTo is an answer of [netutil.PathTo] in words: "eth0 10.0.0.2", or "none".
func routeTo(dst string) (string, error) {
	path, err := netutil.PathTo(netip.MustParseAddr(dst))
	if err != nil && path != (netutil.Path{}) {
		return "", err
	}
	if err != nil {
		return "none", nil
	}
	return path.Interface + " " + path.Src.String(), nil
}

func TestRouteToIsTheKernelsRoute(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	ip(t, ns, "link set lo up", "link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up",
		"addr add 10.0.0.2/24 dev eth0", "addr add 2001:db8::2/64 dev eth0 nodad",
		"route add default via 10.0.0.1", "-6 route add default via 2001:db8::1",
		"route add unreachable 10.1.0.0/16", "route add blackhole 10.2.0.0/16", "route add prohibit 10.3.0.0/16", "route add throw 10.4.0.0/16",
		"-6 route add unreachable 2001:db8:1::/48", "-6 route add blackhole 2001:db8:2::/48", "-6 route add prohibit 2001:db8:3::/48")
	tests := []struct{ name, dst, want string }{
		{"own", "10.0.0.2", "lo 10.0.0.2"},
		{"loopback", "127.0.0.1", "lo 127.0.0.1"},
		{"all-of-127", "127.0.0.6", "lo 127.0.0.1"},
		{"neighbour", "10.0.0.9", "eth0 10.0.0.2"},
		{"by-the-router", "192.0.2.1", "eth0 10.0.0.2"},
		{"unreachable", "10.1.0.1", "none"},
		{"blackhole", "10.2.0.1", "none"},
		{"prohibit", "10.3.0.1", "none"},
		{"throw", "10.4.0.1", "none"},
		{"own-v6", "2001:db8::2", "lo 2001:db8::2"},
		{"loopback-v6", "::1", "lo ::1"},
		{"neighbour-v6", "2001:db8::9", "eth0 2001:db8::2"},
		{"by-the-router-v6", "2001:db8:f::1", "eth0 2001:db8::2"},
		{"unreachable-v6", "2001:db8:1::1", "none"},
		{"blackhole-v6", "2001:db8:2::1", "none"},
		{"prohibit-v6", "2001:db8:3::1", "none"},
	}
	in(t, ns, func() error {
		for _, tt := range tests {
			if got, err := routeTo(tt.dst); err != nil || got != tt.want {
				t.Errorf("%s: to %s want %q, got %q (%v)", tt.name, tt.dst, tt.want, got, err)
			}
		}
		return nil
	})
}

func TestRouteToWithoutRoutes(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t) // lo is down
	in(t, ns, func() error {
		for _, dst := range []string{"10.0.0.1", "2001:db8::1"} {
			if got, err := routeTo(dst); err != nil || got != "none" {
				t.Errorf("to %s want none, got %q (%v)", dst, got, err)
			}
		}
		return nil
	})
}

func TestRouteToWithoutIPv6(t *testing.T) {
	kernel.Need(t, "ip", "sysctl")
	ns := kernel.NewNetNS(t)
	ip(t, ns, "link set lo up")
	ns.Run(t, "", "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.lo.disable_ipv6=1")
	in(t, ns, func() error {
		for _, dst := range []string{"::1", "2001:db8::1"} {
			if got, err := routeTo(dst); err != nil || got != "none" {
				t.Errorf("to %s want none, got %q (%v)", dst, got, err)
			}
		}
		if there, ours, err := netutil.FindLoopbackAddr(passthrough); there || ours || err != nil {
			t.Errorf("::6 is said to be there: %t, %t, %v", there, ours, err)
		}
		got, err := routes.List(inet.IPv6)
		if diff := cmp.Diff(netutil.Routing{}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		return err
	})
}

func TestTProxyRoutesList(t *testing.T) {
	kernel.Need(t, "ip")
	for _, f := range inet.Families {
		family := map[inet.Family]string{inet.IPv4: "-4 ", inet.IPv6: "-6 "}[f]
		ns := kernel.NewNetNS(t)
		ip(t, ns, "link set lo up", family+"rule add fwmark 0x10 lookup 10", family+"route add local default dev lo table 10")
		look := func(name string, want netutil.Routing) {
			t.Helper()
			in(t, ns, func() error {
				got, err := routes.List(f)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s%s (-want +got):\n%s", family, name, diff)
				}
				return err
			})
		}
		look("of others", netutil.Routing{})
		istio := routes.Known
		ip(t, ns, family+"rule add fwmark 1337 lookup 133 priority 100", family+"rule add fwmark 1337 lookup 133 priority 99")
		look("rules without the route", netutil.Routing{Rules: []netutil.TProxyRoute{istio, istio}})
		ip(t, ns, family+"route add local default dev lo table 133")
		look("Istio's", netutil.Routing{Rules: []netutil.TProxyRoute{istio, istio}, Tables: []uint32{133}})
		other := netutil.TProxyRoute{Mark: 7, Table: 200}
		in(t, ns, func() error {
			_, err := routes.Add(f, other)
			return err
		})
		look("and ours", netutil.Routing{Rules: []netutil.TProxyRoute{other, istio, istio}, Tables: []uint32{133, 200}})
	}
}

func TestPassthroughOwner(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	ip(t, ns, "link set lo up")
	look := func(name string, wantThere, wantOurs bool) {
		t.Helper()
		in(t, ns, func() error {
			if there, ours, err := netutil.FindLoopbackAddr(passthrough); there != wantThere || ours != wantOurs || err != nil {
				t.Errorf("%s: want %t, %t, got %t, %t (%v)", name, wantThere, wantOurs, there, ours, err)
			}
			return nil
		})
	}
	look("nothing", false, false)
	in(t, ns, func() error {
		_, err := netutil.AddLoopbackAddr(passthrough)
		return err
	})
	look("ours", true, true)
	ip(t, ns, "addr del ::6/128 dev lo", "addr add ::6/128 dev lo")
	look("Istio's", true, false)
}

// TestErrorsNameThatLoHasNoIPv6: the kernel denies both what needs it, as if a right was missing.
func TestErrorsNameThatLoHasNoIPv6(t *testing.T) {
	kernel.Need(t, "ip", "sh")
	ns := kernel.NewNetNS(t)
	ip(t, ns, "link set lo up")
	ns.Run(t, "", "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	in(t, ns, func() error {
		_, address := netutil.AddLoopbackAddr(passthrough)
		_, route := routes.Add(inet.IPv6, netutil.TProxyRoute{Mark: 0x7d0, Table: 2000})
		for _, err := range []error{address, route} {
			if err == nil || !strings.Contains(err.Error(), "(needs IPv6 on lo not switched off by the sysctl net.ipv6.conf.lo.disable_ipv6)") {
				t.Errorf("want that IPv6 is switched off, got %v", err)
			}
		}
		return nil
	})
}
