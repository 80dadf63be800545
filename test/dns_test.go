package test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"istio-init/iptables/xtables"
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

// A dnsClient sends a query that is its name.
type dnsClient struct {
	name string
	node *pod.Node
	who  flow.Identity
	host string       // whose address its socket has
	asks *net.UDPConn // who gets the query
}

// askFromOnePort sends a query of the app, of the proxy and of the virtual machine to one
// server from one port. All are under way before the first is answered. Sockets of the
// pod have the same addresses and ports, so that each is open only while it is needed.
func (s stage) askFromOnePort(t *testing.T, p *pod.Pod, family inet.Family) {
	t.Helper()
	server := netip.AddrPortFrom(s.server(family), 53)
	p.Reach(t, server.Addr())
	upstream := listenDNS(t, p.Peer, flow.Identity{}, server)
	defer upstream.Close()
	agent := listenDNS(t, p.Pod, s.config.Proxy(), netip.AddrPortFrom(family.Localhost(), 15053))
	defer agent.Close()
	clients := []dnsClient{
		{"app", p.Pod, flow.App, "pod", agent},
		{"proxy", p.Pod, s.config.Proxy(), "pod", upstream},
		{"vm", p.VM, flow.Identity{}, "vm", upstream},
	}
	for n, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		from := map[string]netip.AddrPort{}
		dial := func(c dnsClient) *net.UDPConn {
			conn, err := c.node.DialUDP(c.who, server, netip.AddrPortFrom(flow.Addr(c.host, family), uint16(5401+n)))
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
				t.Fatalf("%s, order %v: the query of %s did not arrive, but that of %s", family, order, c.name, query)
			}
		}
		for _, i := range order {
			c := clients[i]
			conn := dial(c)
			if _, err := c.asks.WriteToUDPAddrPort([]byte("to "+c.name), from[c.name]); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if answer, _ := readDNS(t, conn, c.name); answer != "to "+c.name {
				t.Errorf("%s, order %v: %s got %q", family, order, c.name, answer)
			}
			conn.Close()
		}
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
