package test

import (
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
	"istio-init/test/scenario"
)

// TestForwardedDNSQueriesAreAnswered masquerades the virtual machine, as a container engine
// does with its containers. Its queries are answered, over UDP and TCP, and so are those of
// the app and of the proxy that have the same source port at the same time.
func TestForwardedDNSQueriesAreAnswered(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, name := range []string{"dns-servers", "dns-all", "tproxy-dns", "virtual-interface-dns", "tproxy-virtual-interface-dns"} {
		loaded := scenario.Load(t, testdata, name)
		for _, v := range xtables.Variants {
			t.Run(name+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				s := stage{loaded, loaded.Config(t)}
				p := s.masqueraded(t, v)
				for _, family := range s.config.Captured {
					s.askFromOnePort(t, p, family)
				}
				s.Flows = forwarded(s.Flows)
				s.connect(t, p, v)
			})
		}
	}
}

// masqueraded applies a scenario in a pod that masquerades its virtual machine.
func (s stage) masqueraded(t *testing.T, v xtables.Variant) *pod.Pod {
	t.Helper()
	p := pod.New(t, s.config)
	for _, f := range inet.Families {
		guests := netip.PrefixFrom(flow.Addr("vm", f), []int{24, 64}[f]).Masked()
		restoreIn(t, p, v, f, fmt.Sprintf("*nat\n-A POSTROUTING -s %s ! -o eth1 -j MASQUERADE\nCOMMIT\n", guests))
	}
	args := append([]string{applyCommand, "--force-iptables-binary", v.String()}, s.Args...)
	if _, stderr, err := p.RunWith(t, nil, s.Section("resolv.conf"), built, args...); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr)
	}
	return p
}

// forwarded returns the flows that begin in the virtual machine.
func forwarded(flows []flow.Flow) (from []flow.Flow) {
	for _, f := range flows {
		if f.Who == "vm" {
			from = append(from, f)
		}
	}
	return from
}

// askFromOnePort sends a query of the app, of the proxy and of the virtual machine to one
// server from one port.
func (s stage) askFromOnePort(t *testing.T, p *pod.Pod, family inet.Family) {
	t.Helper()
	server := netip.AddrPortFrom(s.server(family), 53)
	p.Reach(t, server.Addr())
	upstream := listenDNS(t, p.Peer, flow.Identity{}, server)
	defer upstream.Close()
	agent := listenDNS(t, p.Pod, s.config.Proxy(), netip.AddrPortFrom(family.Localhost(), 15053))
	defer agent.Close()
	askTogether(t, server, []dnsClient{
		{"app", p.Pod, flow.App, flow.Addr("pod", family), agent},
		{"proxy", p.Pod, s.config.Proxy(), flow.Addr("pod", family), upstream},
		{"vm", p.VM, flow.Identity{}, flow.Addr("vm", family), upstream},
	})
}

// A dnsClient sends a query that is its name.
type dnsClient struct {
	name string
	node *pod.Node
	who  flow.Identity
	from netip.Addr
	asks *net.UDPConn // who gets the query
}

// askTogether sends the queries of all clients from one port, and then answers them, in
// each order. Some sockets have the same addresses and ports, so that each is open only
// while it is needed.
func askTogether(t *testing.T, server netip.AddrPort, clients []dnsClient) {
	t.Helper()
	port := uint16(5400)
	for order := range permutations(len(clients)) {
		port++
		from := map[string]netip.AddrPort{}
		dial := func(c dnsClient) *net.UDPConn {
			conn, err := c.node.DialUDP(c.who, server, netip.AddrPortFrom(c.from, port))
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			return conn
		}
		for _, i := range order {
			c := clients[i]
			conn := dial(c)
			if _, err := conn.Write([]byte(c.name)); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			conn.Close()
			var query string
			if query, from[c.name] = readDNS(t, c.asks, c.name); query != c.name {
				t.Fatalf("%s, order %v: the query of %s did not arrive, but that of %s", server, order, c.name, query)
			}
		}
		for _, i := range order {
			c := clients[i]
			conn := dial(c)
			if _, err := c.asks.WriteToUDPAddrPort([]byte("to "+c.name), from[c.name]); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if answer, _ := readDNS(t, conn, c.name); answer != "to "+c.name {
				t.Errorf("%s, order %v: %s got %q", server, order, c.name, answer)
			}
			conn.Close()
		}
	}
}

// permutations returns the orders of n things.
func permutations(n int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		var next func(order []int) bool
		next = func(order []int) bool {
			if len(order) == n {
				return yield(order)
			}
			for i := range n {
				if !slices.Contains(order, i) && !next(append(slices.Clone(order), i)) {
					return false
				}
			}
			return true
		}
		next(nil)
	}
}

// server returns a DNS server outside the pod whose queries are captured.
func (s stage) server(family inet.Family) netip.Addr {
	for _, server := range s.config.DNS.Servers {
		if family.Has(server) && !server.IsLoopback() {
			return server
		}
	}
	return flow.Addr("ext", family)
}

func listenDNS(t *testing.T, node *pod.Node, who flow.Identity, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	conn, err := node.ListenUDP(who, at)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// readDNS reads one packet of the exchange of a client.
func readDNS(t *testing.T, conn *net.UDPConn, client string) (packet string, from netip.AddrPort) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	buf := make([]byte, 512)
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatalf("%s: %v", client, err)
	}
	return string(buf[:n]), from
}

// dockerDNS are the rules of docker for its resolver, which listens on a port of its own
// choice (https://github.com/moby/moby, libnetwork/resolver_unix.go).
const dockerDNS = `*nat
:DOCKER_OUTPUT - [0:0]
:DOCKER_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:45678
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:45678
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport 45678 -j SNAT --to-source :53
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport 45678 -j SNAT --to-source :53
COMMIT
`

// TestDockerResolverAnswers has docker's rules ahead of ours, where docker's resolver gets the
// queries of the app, with a warning, and behind ours, where the agent gets them. The proxy's
// go to the resolver. Each answer comes from the address that was asked.
func TestDockerResolverAnswers(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, v := range xtables.Variants {
		for _, ahead := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/ahead-%t", v, ahead), func(t *testing.T) {
				t.Parallel()
				var config flow.Config
				config.ApplyDefaults()
				p := pod.New(t, config)
				if ahead {
					restoreIn(t, p, v, inet.IPv4, dockerDNS)
				}
				args := in(v, flags("-i * -b * --redirect-dns"))
				_, log, err := p.RunWith(t, nil, "nameserver 127.0.0.11\n", built, args...)
				if err != nil {
					t.Fatalf("%v\n%s", err, log)
				}
				if warns := strings.Contains(log, "nat OUTPUT: -d 127.0.0.11/32 -j DOCKER_OUTPUT"); warns != ahead {
					t.Errorf("a warning names the server: %t, want %t\n%s", warns, ahead, log)
				}
				if !ahead {
					restoreIn(t, p, v, inet.IPv4, dockerDNS)
				}
				resolver := listenDNS(t, p.Pod, flow.Identity{}, netip.MustParseAddrPort("127.0.0.11:45678"))
				defer resolver.Close()
				agent := listenDNS(t, p.Pod, config.Proxy(), netip.MustParseAddrPort("127.0.0.1:15053"))
				defer agent.Close()
				asksOfApp := agent
				if ahead {
					asksOfApp = resolver
				}
				localhost := inet.IPv4.Localhost()
				askTogether(t, netip.MustParseAddrPort("127.0.0.11:53"), []dnsClient{
					{"app", p.Pod, flow.App, localhost, asksOfApp},
					{"proxy", p.Pod, config.Proxy(), localhost, resolver},
				})
			})
		}
	}
}

// TestForwardedPacketsDoNotReachLocalhost is why DNS queries by -k are not captured: the
// agent listens on localhost, and no target brings a packet there that another interface
// received. A redirected one has the address of that interface.
func TestForwardedPacketsDoNotReachLocalhost(t *testing.T) {
	t.Parallel()
	needKernel(t)
	targets := map[string]string{
		"redirect": "*nat\n-A PREROUTING -i eth1 -p udp --dport 53 -j REDIRECT --to-ports 15053\nCOMMIT\n",
		"dnat":     "*nat\n-A PREROUTING -i eth1 -p udp --dport 53 -j DNAT --to-destination SOCKET\nCOMMIT\n",
		"tproxy":   "*mangle\n-A PREROUTING -i eth1 -p udp --dport 53 -j TPROXY --on-ip LOCALHOST --on-port 15053 --tproxy-mark 0x1\nCOMMIT\n",
	}
	for name, rule := range targets {
		for _, f := range inet.Families {
			t.Run(name+"/"+f.String(), func(t *testing.T) {
				t.Parallel()
				var config flow.Config
				config.ApplyDefaults()
				p := pod.New(t, config)
				localhost := netip.AddrPortFrom(f.Localhost(), 15053)
				restoreIn(t, p, xtables.NFT, f, strings.NewReplacer("SOCKET", localhost.String(), "LOCALHOST", localhost.Addr().String()).Replace(rule))
				for _, command := range (netutil.TProxyRoute{Mark: 1, Table: 100}).Commands(f) {
					runIP(t, p, strings.TrimPrefix(command, "ip "))
				}
				if queryArrives(t, p, localhost, 300*time.Millisecond) {
					t.Error("a query arrived at localhost")
				}
				if name == "redirect" && !queryArrives(t, p, netip.AddrPortFrom(f.Any(), 15053), 2*time.Second) {
					t.Error("no query arrived at the address of the interface")
				}
			})
		}
	}
}

// queryArrives reports whether a DNS query of the virtual machine arrives at a socket of the
// agent.
func queryArrives(t *testing.T, p *pod.Pod, at netip.AddrPort, within time.Duration) bool {
	t.Helper()
	agent := listenDNS(t, p.Pod, flow.Identity{}, at)
	defer agent.Close()
	f := inet.Of(at.Addr())
	conn, err := p.VM.DialUDP(flow.Identity{}, netip.AddrPortFrom(flow.Addr("ext", f), 53), netip.AddrPortFrom(flow.Addr("vm", f), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("query")); err != nil {
		t.Fatal(err)
	}
	_ = agent.SetReadDeadline(time.Now().Add(within))
	_, err = agent.Read(make([]byte, 512))
	return err == nil
}
