package test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"istio-init/capture"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// localResolver is a DNS server in the pod that is not the proxy's user.
var localResolver = flow.Identity{UID: 101, GID: 101}

// mostQueries is how many queries of a loop are forwarded.
const mostQueries = 40

// A dnsRelay forwards DNS queries as a user of the pod, and counts them.
type dnsRelay struct {
	queries atomic.Int32
	looped  chan struct{} // closed after mostQueries
}

// relay starts a dnsRelay.
func relay(t *testing.T, node *pod.Node, who flow.Identity, at, to netip.AddrPort) *dnsRelay {
	t.Helper()
	r := &dnsRelay{looped: make(chan struct{})}
	serveDNS(t, node, who, at, func() []byte {
		switch n := r.queries.Add(1); {
		case n == mostQueries:
			close(r.looped)
			return nil
		case n > mostQueries:
			return nil
		}
		return queryDNS(t, node, who, to, r.looped)
	})
	return r
}

// serveDNS answers packets until the end of the test, each in a goroutine of its own.
func serveDNS(t *testing.T, node *pod.Node, who flow.Identity, at netip.AddrPort, answer func() []byte) {
	t.Helper()
	conn, err := node.ListenUDP(who, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for {
			buf := make([]byte, 512)
			_, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			go func() {
				if reply := answer(); reply != nil {
					_, _ = conn.WriteToUDPAddrPort(reply, from)
				}
			}()
		}
	}()
}

// queryDNS sends a query and returns the answer; nil if stop is closed before.
func queryDNS(t *testing.T, node *pod.Node, who flow.Identity, to netip.AddrPort, stop <-chan struct{}) []byte {
	t.Helper()
	conn, err := node.DialUDP(who, to, netip.AddrPort{})
	if err != nil {
		t.Error(err)
		return nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // where nothing answers
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-stop:
		case <-t.Context().Done():
		case <-ended:
		}
		_ = conn.SetDeadline(time.Unix(1, 0)) // long ago
	}()
	if _, err := conn.Write([]byte("query")); err != nil {
		return nil
	}
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// TestDNSCaptureWithAResolverInThePodLoops: the agent asks the name server of resolv.conf,
// which is in the pod and forwards the query to another server. That query is captured, too.
// The warning names the server and two remedies, and each of them ends the loop.
func TestDNSCaptureWithAResolverInThePodLoops(t *testing.T) {
	t.Parallel()
	needKernel(t)
	tests := []struct {
		name, server, resolvConf, flags, env string
		loops                                bool
	}{
		{"loopback", "127.0.0.53", "", "--capture-all-dns", "", true},
		{"own-address", "10.244.0.2", "", "--capture-all-dns", "", true},
		{"own-address-ipv6", "2001:db8:244::2", "", "--capture-all-dns", "", true},
		{"both-listed", "127.0.0.53", "nameserver 10.96.0.10\n", "", "", true},
		{"alone", "127.0.0.53", "", "", "", false},
		{"proxy-uid", "127.0.0.53", "", "--capture-all-dns -u 1337,101", "", false},
		{"proxy-uid-ipv6", "::1", "", "--capture-all-dns -u 1337,101", "", false},
		{"owner-group", "10.244.0.2", "", "--capture-all-dns", "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=101", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pod.New(t, flow.Config{})
			server := netip.AddrPortFrom(netip.MustParseAddr(tt.server), 53)
			f := inet.Of(server.Addr())
			upstream := netip.AddrPortFrom([...]netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("2001:db8::53")}[f], 53)
			args := append(common("-i * -b * --redirect-dns"), strings.Fields(tt.flags)...)
			_, log, err := p.RunWith(t, []string{tt.env}, "nameserver "+tt.server+"\n"+tt.resolvConf, built, in(xtables.NFT, args)...)
			if err != nil {
				t.Fatalf("%v\n%s", err, log)
			}
			warning := "DNS queries may loop: the name server " + tt.server + " of /etc/resolv.conf is in the pod"
			if warned := strings.Contains(log, warning); warned != tt.loops {
				t.Errorf("warned %t, want %t:\n%s", warned, tt.loops, log)
			}
			if tt.loops && (!strings.Contains(log, "-u 1337,UID") || !strings.Contains(log, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=GID")) {
				t.Errorf("a remedy is missing:\n%s", log)
			}

			p.Reach(t, upstream.Addr())
			serveDNS(t, p.Peer, flow.Identity{}, upstream, func() []byte { return []byte("answer") })
			resolver := relay(t, p.Pod, localResolver, server, upstream)
			agent := netip.AddrPortFrom(f.Localhost(), capture.DNSProxyPort)
			proxy := flow.Identity{UID: 1337, GID: 1337}
			serveDNS(t, p.Pod, proxy, agent, func() []byte { return queryDNS(t, p.Pod, proxy, server, resolver.looped) })
			answer := string(queryDNS(t, p.Pod, flow.App, server, resolver.looped))
			queries := resolver.queries.Load()
			if want := [2]bool{tt.loops, !tt.loops}; [2]bool{queries >= mostQueries, answer == "answer"} != want {
				t.Errorf("the resolver got %d queries, the app %q", queries, answer)
			}
			if !tt.loops && queries != 1 {
				t.Errorf("the resolver got %d queries, want 1", queries)
			}
		})
	}
}
