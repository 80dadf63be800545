package path_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/istio"
	"istio-init/test/size"
)

// testNetwork is a pod that has the first address of each family.
func testNetwork(c capture.Config) path.Network {
	own := []netip.Addr{netip.MustParseAddr("10.244.0.2"), netip.MustParseAddr("2001:db8::2")}
	network := path.Network{Route: func(q path.RouteQuery) path.Route {
		r := path.Route{Device: "eth0", Src: own[0]}
		switch dst := q.Dst.Addr(); {
		case c.Mode == capture.TProxy && q.Mark == c.TProxyMark: // by the policy rule of that mode
			r = path.Route{Device: "lo", Src: dst}
		case q.Mark == 0x7f: // by a policy rule ahead of the table local
		case dst.IsLoopback() || dst == capture.Passthrough(inet.IPv6), dst == own[0] || dst == own[1]:
			r = path.Route{Device: "lo", Src: dst}
		case dst == netip.MustParseAddr("203.0.113.1"):
			r = path.Route{Failure: path.Unrouted}
		case dst.Is6():
			r.Src = own[1]
		}
		r.Device = cmp.Or(q.Out, r.Device)
		return r
	}}
	if len(c.ProxyUIDs) > 0 {
		network.Proxy = iptables.Owner{UID: c.ProxyUIDs[0].Lo, GID: c.ProxyUIDs[0].Lo}
	}
	return network
}

// TestAPathBeginsWhereTheTraceEnds compares the first hop of a journey with the
// plain walk through the rules.
func TestAPathBeginsWhereTheTraceEnds(t *testing.T) {
	t.Parallel()
	const packets = 60
	configs := size.Of(60, 250, 800)
	rng := rand.New(rand.NewPCG(7, 11))
	for range configs {
		c := istio.RandomConfig(rng, false)
		for _, f := range inet.Families {
			rules := capture.Rules(c, f)
			inferred := infer.Infer(rules)
			for range packets {
				p := istio.RandomPacket(rng, f)
				p.ConnMark = 0 // a path begins without
				hop := path.Follow(inferred, c, testNetwork(c), path.Connection{
					Proto: p.Proto, Owner: p.Owner, Src: p.Src, Dst: p.Dst, In: p.In, Out: p.Out, Mark: p.Mark, State: p.State,
				})[0]
				if hop.Lost != 0 { // the walk is that of the first packet alone
					continue
				}
				want := istio.Walk(rules, p)
				port := want.Redirected + want.TProxied // never both
				switch captured := port != 0; {
				case (hop.Outcome == path.Dropped) != want.Dropped,
					!want.Dropped && hop.Captured != captured,
					captured && hop.Port != port,
					hop.Decided == nil || report.Because(hop, f) == "",
					hop.Uncertain(), hop.Outcome == path.Unknown, hop.Outcome == path.Foreign:
					t.Fatalf("config %+v\npacket %+v %+v\nthe walk ends %+v\nthe hop %+v\ndecided by %+v\n%s", c, p, p.Owner, want, hop, hop.Decided, rules)
				}
			}
		}
	}
}

// inText are the rules of a text of iptables-save.
func inText(t *testing.T, f inet.Family, text string) iptables.Ruleset {
	t.Helper()
	s, err := iptables.ParseSnapshot(f, text)
	if err != nil {
		t.Fatal(err)
	}
	return s.Ruleset()
}

// told is a path in short: who, where it ended and why.
func told(hops path.Path, f inet.Family) string {
	var b strings.Builder
	for _, l := range hops {
		fmt.Fprintf(&b, "%s %s", l.Who, l.Outcome)
		if l.Port != 0 {
			fmt.Fprintf(&b, " %d", l.Port)
		}
		for _, flag := range []struct {
			set  bool
			text string
		}{{l.Loop, " loop"}, {l.Uncertain(), " uncertain"}} {
			if flag.set {
				b.WriteString(flag.text)
			}
		}
		if l.Decided != nil {
			fmt.Fprintf(&b, ": %s", cmp.Or(report.Because(l, f), l.Decided.Rule.Text(f)))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// sidecarConfig captures everything.
func sidecarConfig() capture.Config {
	return capture.Config{
		ProxyPort: 15001, InboundPort: 15006, TunnelPort: 15008, ProxyUIDs: []iptables.IDRange{iptables.ID(1337)}, ProxyGIDs: []iptables.IDRange{iptables.ID(1337)},
		InboundPorts: capture.Selector[iptables.PortRange]{All: true}, OutboundPrefixes: capture.Selector[netip.Prefix]{All: true},
		OwnerGroups: capture.Selector[iptables.IDRange]{All: true}, TProxyMark: 1337, TProxyTable: 133,
	}
}

// A pathTest is a connection through rules and its path, in short.
type pathTest struct {
	name  string
	rules string
	c     path.Connection
	want  string
}

func (tt pathTest) run(t *testing.T) {
	t.Parallel()
	r := infer.Infer(inText(t, inet.IPv4, tt.rules))
	c := infer.Configuration(r)
	network := testNetwork(c)
	if c.Mode == capture.TProxy {
		network.Proxy.UID = 0
	}
	if len(c.ProxyUIDs) == 0 {
		network.Proxy = iptables.Owner{UID: 1337, GID: 1337}
	}
	if got := told(path.Follow(r, c, network, tt.c), inet.IPv4); got != tt.want {
		t.Errorf("want\n%sgot\n%s", tt.want, got)
	}
}

const hook = "-A OUTPUT -j ISTIO_OUTPUT\n"

var app = &iptables.Owner{UID: 1000, GID: 1000}

func to(dst string) path.Connection {
	return path.Connection{Proto: iptables.TCP, Owner: app, Dst: netip.MustParseAddrPort(dst)}
}

func from(src, in, dst string) path.Connection {
	return path.Connection{Proto: iptables.TCP, Src: netip.MustParseAddrPort(src), In: in, Dst: netip.MustParseAddrPort(dst)}
}

// with returns the rules of a configuration with some lines replaced.
func with(c capture.Config, change ...string) string {
	return strings.NewReplacer(change...).Replace(capture.Rules(c, inet.IPv4).String())
}

func TestPaths(t *testing.T) {
	t.Parallel()
	redirect, tproxy, dns, vm := sidecarConfig(), sidecarConfig(), sidecarConfig(), sidecarConfig()
	tproxy.Mode = capture.TProxy
	dns.DNS = capture.DNS{Servers: []netip.Addr{netip.MustParseAddr("10.96.0.10")}}
	vm.VirtualInterfaces = []iptables.Interface{"vm0"}
	query := to("10.96.0.10:53")
	query.Proto = iptables.UDP
	established := to("10.0.0.5:80")
	established.State = iptables.Established
	for _, tt := range []pathTest{
		{"out", with(redirect), to("10.0.0.5:80"), "app outbound 15001: every destination is included by -i\nproxy direct: user 1337 is the proxy\n"},
		{"in", with(redirect), from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), "peer inbound 15006: every port is included by -b\n" +
			"proxy direct: the proxy connects to the app\n"},
		{"in-tproxy", with(tproxy), from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), "peer inbound 15006: every port is included by -b\nproxy direct: the proxy connects to the app\n"},
		{"to-itself-by-address", with(redirect), to("10.244.0.2:80"), "app direct: the app connects to its own pod IP\n"},
		{
			"proxy-to-its-own-pod", with(redirect),
			path.Connection{Proto: iptables.TCP, Owner: &iptables.Owner{UID: 1337, GID: 1337}, Dst: netip.MustParseAddrPort("10.244.0.2:80")},
			"proxy inbound 15006: the proxy connects to its own pod IP: redirected to the inbound port\nproxy direct: the proxy connects to the app\n",
		},
		{
			"proxy-to-its-own-pod-tproxy", with(tproxy),
			path.Connection{Proto: iptables.TCP, Owner: &iptables.Owner{UID: 0, GID: 1337}, Dst: netip.MustParseAddrPort("10.244.0.2:80")},
			"proxy inbound 15006: every port is included by -b\nproxy direct: the proxy connects to the app\n",
		},
		{"dns-query", with(dns), query, "app lookup 15053: DNS queries to 10.96.0.10 go to the agent (--redirect-dns)\nproxy direct: user 1337 is the proxy\n"},
		{"vm", with(vm), from("10.245.0.1:4000", "vm0", "10.0.0.5:80"), "peer outbound 15001: connections from virtual interface vm0 (-k) are outbound: every destination is included by -i\n" +
			"proxy direct: user 1337 is the proxy\n"},
		{"established", with(redirect), established, "app continues: nat sees only the first packet of a connection (--state new)\n"},
		{"no-route", with(redirect), to("203.0.113.1:80"), "app no-route: there is no route to 203.0.113.1\n"},
		{"no-route-to-go-on", "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", from("10.244.1.1:4000", "eth0", "203.0.113.1:80"), "peer no-route: there is no route to 203.0.113.1\n"},
		{"nothing-there", "", to("10.0.0.5:80"), "app direct: there are no rules of Istio for ipv4\n"},
		{
			"proxy-is-captured-again", with(redirect, "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n", "", "-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN\n", ""), to("10.0.0.5:80"),
			"app outbound 15001: every destination is included by -i\nproxy outbound 15001 loop: every destination is included by -i\n",
		},
		{
			"proxy-never-reaches-the-app", with(redirect, "-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN\n", ""), from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"),
			"peer inbound 15006: every port is included by -b\nproxy inbound 15006 loop: the proxy connects to its own pod IP: redirected to the inbound port\n",
		},
		{
			"guardrails", with(redirect) + "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n" +
				"-A INPUT -p tcp -j DROP\n-A INPUT -p udp -j DROP\n-A FORWARD -p tcp -j DROP\n-A FORWARD -p udp -j DROP\n-A OUTPUT -p tcp -j DROP\n-A OUTPUT -p udp -j DROP\nCOMMIT\n",
			to("10.0.0.5:80"), "app dropped: an interrupted run of Istio left its guardrails: all tcp is dropped\n",
		},
	} {
		t.Run(tt.name, tt.run)
	}
}

func TestPathsThroughForeignRules(t *testing.T) {
	t.Parallel()
	redirect := sidecarConfig()
	asProxy := path.Connection{Proto: iptables.TCP, Owner: &iptables.Owner{UID: 1337, GID: 1337}, Dst: netip.MustParseAddrPort("10.0.0.5:80")}
	for _, tt := range []pathTest{
		{"firewall-is-no-guardrail", "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j DROP\nCOMMIT\n", to("10.0.0.5:80"), "app dropped: -p tcp -j DROP\n"},
		{"policy", with(redirect) + "*filter\n:INPUT DROP [0:0]\nCOMMIT\n", from("10.244.1.1:4000", "eth0", "10.244.0.2:8080"), "peer dropped: the policy of filter INPUT is DROP\n"},
		{"forwarded-policy", "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\nCOMMIT\n", from("10.244.1.1:4000", "eth0", "10.0.0.9:80"), "peer dropped: the policy of filter FORWARD is DROP\n"},
		{
			"kube-dnat", with(redirect, hook, "-A OUTPUT -j KUBE\n"+hook, ":ISTIO_OUTPUT", ":KUBE - [0:0]\n:ISTIO_OUTPUT", "-A ISTIO_REDIRECT",
				"-A KUBE -d 10.96.0.1/32 -p tcp -m comment --comment \"default/kubernetes\" -m tcp --dport 443 -j DNAT --to-destination 10.0.0.1:6443\n-A ISTIO_REDIRECT"),
			to("10.96.0.1:443"), "app elsewhere: -d 10.96.0.1/32 -p tcp -m comment --comment \"default/kubernetes\" -m tcp --dport 443 -j DNAT --to-destination 10.0.0.1:6443\n",
		},
		{
			"foreign-redirect", with(redirect, hook, "-A OUTPUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128\n"+hook), to("10.0.0.5:80"),
			"app foreign 3128: -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128\n",
		},
		{"foreign-accept-before-ours", with(redirect, hook, "-A OUTPUT -p tcp -j ACCEPT\n"+hook), to("10.0.0.5:80"), "app direct: -p tcp -j ACCEPT\n"},
		{"foreign-accept-behind-ours", with(redirect, hook, hook+"-A OUTPUT -p tcp -j ACCEPT\n"), to("10.244.0.2:80"), "app direct: the app connects to its own pod IP\n"},
		{
			"foreign-condition", with(redirect, hook, "-A OUTPUT -m set --match-set a dst -j ACCEPT\n"+hook), to("10.0.0.5:80"),
			"app outbound 15001 uncertain: every destination is included by -i\nproxy direct: user 1337 is the proxy\n",
		},
		{
			"related-is-asked-of-nat", with(redirect),
			path.Connection{Proto: iptables.TCP, Owner: app, Dst: netip.MustParseAddrPort("10.0.0.5:80"), State: iptables.Related},
			"app outbound 15001: every destination is included by -i\n",
		},
		{
			"mark-that-the-answer-gives-the-connection", with(redirect) + "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n" +
				"-A PREROUTING -i eth0 -j CONNMARK --set-xmark 0x9/0xffffffff\n-A OUTPUT -m connmark --mark 0x9 -j DROP\nCOMMIT\n", asProxy,
			"proxy dropped: -m connmark --mark 0x9 -j DROP\n",
		},
		{
			"redirected-without-a-way-to-localhost", with(redirect) + "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j MARK --set-xmark 0x7f/0xffffffff\nCOMMIT\n", to("10.0.0.5:80"),
			"app no-route: there is no route to 127.0.0.1 with mark 0x7f\n",
		},
		{"too-many-chains", chainsOfJumps(14), to("10.0.0.5:80"), "app unknown uncertain: the rules have too many chains that jump to the next, or a loop of chains\n"},
		{"lost-its-jump", with(redirect, hook, ""), to("10.0.0.5:80"), "app direct: no rule jumps to ISTIO_OUTPUT\n"},
	} {
		t.Run(tt.name, tt.run)
	}
}

// chainsOfJumps returns rules in which each chain jumps three times to the next.
func chainsOfJumps(chains int) string {
	var declared, rules strings.Builder
	for i := range chains {
		fmt.Fprintf(&declared, ":K%d - [0:0]\n", i)
		for range 3 {
			fmt.Fprintf(&rules, "-A K%d -j K%d\n", i, i+1)
		}
	}
	fmt.Fprintf(&declared, ":K%d - [0:0]\n", chains)
	return "*nat\n:OUTPUT ACCEPT [0:0]\n" + declared.String() + "-A OUTPUT -j K0\n" + rules.String() + "COMMIT\n"
}
