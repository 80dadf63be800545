package netutil_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"istio-init/netutil"
	"istio-init/test/kernel"
)

// TestRouteDependsOnWhatPolicyRulesMatch asks for routes that policy rules choose.
func TestRouteDependsOnWhatPolicyRulesMatch(t *testing.T) {
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	ip(t, ns, "link set lo up", "link add eth0 type veth peer name eth1", "link set eth0 up", "link set eth1 up",
		"addr add 10.0.0.2/24 dev eth0", "addr add 2001:db8::2/64 dev eth0 nodad",
		"route add default via 10.0.0.1", "-6 route add default via 2001:db8::1")
	ns.Run(t, "", "sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=1")
	for _, family := range []string{"-4", "-6"} {
		ip(t, ns, family+" rule add fwmark 1 blackhole", family+" rule add fwmark 2 unreachable", family+" rule add fwmark 3 prohibit",
			family+" rule add uidrange 1000-1000 blackhole", family+" rule add iif eth0 ipproto tcp dport 80 prohibit",
			family+" rule add fwmark 4 lookup 7", family+" route add local default dev lo table 7")
	}
	to := func(dst string) netutil.RouteQuery {
		return netutil.RouteQuery{Dst: netip.MustParseAddrPort(dst), Proto: unix.IPPROTO_TCP}
	}
	in := func(src, dst string) netutil.RouteQuery {
		q := to(dst)
		q.Src, q.In = netip.MustParseAddrPort(src), "eth0"
		return q
	}
	with := func(q netutil.RouteQuery, mark, uid uint32) netutil.RouteQuery {
		q.Mark, q.UID = mark, uid
		return q
	}
	udp := func(dst string) netutil.RouteQuery {
		q := to(dst)
		q.Proto, q.Out = unix.IPPROTO_UDP, "eth0" // there may be a route by each interface
		return q
	}
	const none = unix.ENETUNREACH
	unknown := to("10.9.9.9:443")
	unknown.In = "nosuch0"
	for _, tt := range []struct {
		name  string
		query netutil.RouteQuery
		want  string // interface
		err   error
	}{
		{"multicast", udp("224.0.0.251:5353"), "eth0", nil},
		{"multicast-v6", udp("[ff02::fb]:5353"), "eth0", nil},
		{"tcp-to-multicast", to("224.0.0.251:5353"), "", none},
		{"tcp-to-multicast-v6", to("[ff02::fb]:5353"), "", none},
		{"tcp-to-broadcast", to("10.0.0.255:53"), "", none},
		{"no-mark", to("10.9.9.9:443"), "eth0", nil},
		{"blackhole", with(to("10.9.9.9:443"), 1, 0), "", unix.EINVAL},
		{"unreachable", with(to("10.9.9.9:443"), 2, 0), "", unix.ENETUNREACH}, // of a rule (net/ipv4/fib_rules.c), unlike a route
		{"prohibit", with(to("10.9.9.9:443"), 3, 0), "", unix.EACCES},
		{"local-by-mark", with(to("10.9.9.9:443"), 4, 0), "lo", nil},
		{"uid", with(to("10.9.9.9:443"), 0, 1000), "", unix.EINVAL},
		{"incoming", in("10.0.0.9:4000", "10.0.0.2:443"), "lo", nil},
		{"incoming-local-by-mark", with(in("10.0.0.9:4000", "10.9.9.9:443"), 4, 0), "lo", nil},
		{"no-such-interface", unknown, "", unix.ENODEV},
		{"incoming-source", in("127.0.0.9:4000", "10.0.0.2:443"), "", unix.EINVAL},
		{"uid-v6", with(to("[2001:db8:9::9]:443"), 0, 1000), "", unix.EINVAL},
		{"blackhole-v6", with(to("[2001:db8:9::9]:443"), 1, 0), "", unix.EINVAL},
		{"unreachable-v6", with(to("[2001:db8:9::9]:443"), 2, 0), "", unix.ENETUNREACH},
		{"prohibit-v6", with(to("[2001:db8:9::9]:443"), 3, 0), "", unix.EACCES},
		{"incoming-v6", in("[2001:db8::9]:4000", "[2001:db8::2]:443"), "lo", nil},
		{"incoming-port-v6", in("[2001:db8::9]:4000", "[2001:db8:9::9]:80"), "", unix.EACCES},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got netutil.Path
			err := netutil.InNetNS(ns.Path(), func() (err error) {
				got, err = netutil.Route(tt.query)
				return err
			})
			if got.Interface != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("want %q, %v; got %q, %v", tt.want, tt.err, got.Interface, err)
			}
		})
	}
}
