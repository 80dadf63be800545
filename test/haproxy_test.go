package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// HAProxy is an independent proxy: it knows a connection's original destination only
// from the kernel.

// haproxyOutbound is the outbound half of a sidecar. A server 0.0.0.0 without a
// port is the original destination (configuration manual, section 5, "server"),
// which HAProxy asks the kernel for over IPv4. Over IPv6 it does not ask (2.6,
// src/sock_inet.c: SO_ORIGINAL_DST is for AF_INET), and a redirected connection
// seems to be meant for the proxy; it goes by the Host of the request there, as
// HTTP proxies may.
const haproxyOutbound = `
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen outbound
    bind 0.0.0.0:15001
    http-response set-header Proxy "outbound %[dst] %[dst_port]"
    server original 0.0.0.0
listen outbound6
    bind [::]:15001 v6only
    http-request set-dst req.hdr(host),host_only,regsub([][],,g)
    http-request set-dst-port req.hdr(host),port_only
    http-response set-header Proxy "outbound %[dst] %[dst_port]"
    server host [::]
`

// haproxyRedirect is the inbound half in mode REDIRECT.
const haproxyRedirect = `
listen inbound
    bind 0.0.0.0:15006
    source 127.0.0.6
    http-response set-header Proxy "inbound %[dst] %[dst_port]"
    server original 0.0.0.0
listen inbound6
    bind [::]:15006 v6only
    source [::6]
    http-request set-dst req.hdr(host),host_only,regsub([][],,g)
    http-request set-dst-port req.hdr(host),port_only
    http-response set-header Proxy "inbound %[dst] %[dst_port]"
    server host [::]
`

// haproxyTProxy is the inbound half in mode TPROXY: the socket has the original
// destination, and the connection to the app has the client's address.
const haproxyTProxy = `
listen inbound
    bind 0.0.0.0:15006 transparent
    source 0.0.0.0 usesrc clientip
    http-response set-header Proxy "inbound %[dst] %[dst_port]"
    server original 0.0.0.0
listen inbound6
    bind [::]:15006 transparent v6only
    source [::] usesrc clientip
    http-response set-header Proxy "inbound %[dst] %[dst_port]"
    server original [::]
`

// markUpstream marks what the proxy sends to the app from a client's address. A proxy in
// mode TPROXY has to set this mark, as Envoy does. HAProxy supports it since 3.0 only
// (http-request set-bc-mark), so the test does it.
const markUpstream = `*mangle
-A OUTPUT -o lo -p tcp -m owner --gid-owner 1337 -m addrtype ! --src-type LOCAL -j MARK --set-xmark 0x539/0xffffffff
COMMIT
`

var podApp = flow.Identity{UID: 1000, GID: 1000}

// A request is an HTTP connection, and what both ends have to see.
type request struct {
	name  string
	node  *pod.Node
	who   flow.Identity
	to    netip.AddrPort
	proxy string     // the half of HAProxy that forwards it; "" for none
	from  netip.Addr // the client, as the server sees it
}

func TestHAProxyAsSidecarInModeREDIRECT(t *testing.T) {
	needHAProxy(t)
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			pod := pod.New(t, flow.Config{})
			startHAProxy(t, pod, flow.Identity{UID: 1337, GID: 1337}, haproxyOutbound+haproxyRedirect)
			applyIn(t, pod, v, "REDIRECT")
			passthrough := [...]netip.Addr{netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("::6")}
			for _, f := range inet.Families {
				exchange(t, pod, requests(pod, f, passthrough[f]))
			}
		})
	}
}

func TestHAProxySeesTheClientInModeTPROXY(t *testing.T) {
	needHAProxy(t)
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			pod := pod.New(t, flow.Config{})
			// As root: a connection of uid 1337 to its own pod would be redirected.
			startHAProxy(t, pod, flow.Identity{GID: 1337}, haproxyOutbound+haproxyTProxy)
			for _, f := range inet.Families {
				restoreIn(t, pod, v, f, markUpstream)
			}
			applyIn(t, pod, v, "TPROXY")
			for _, f := range inet.Families {
				exchange(t, pod, requests(pod, f, flow.Addr("peer", f)))
			}
		})
	}
}

// requests are those of both tests in a family; the app sees inbound as the client
// of what HAProxy sends it.
func requests(pod *pod.Pod, f inet.Family, inbound netip.Addr) []request {
	app, ext, peer := flow.Addr("pod", f), flow.Addr("ext", f), flow.Addr("peer", f)
	outside := flow.Identity{}
	return []request{
		{"out", pod.Pod, podApp, netip.AddrPortFrom(ext, 80), "outbound", app},
		{"out-to-another-port", pod.Pod, podApp, netip.AddrPortFrom(ext, 9080), "outbound", app},
		{"in", pod.Peer, outside, netip.AddrPortFrom(app, 8080), "inbound", inbound},
		{"in-by-an-excluded-port", pod.Peer, outside, netip.AddrPortFrom(app, 15021), "", peer},
		{"to-itself", pod.Pod, podApp, netip.AddrPortFrom(app, 8080), "", app},
	}
}

// exchange makes requests, and the servers that answer them.
func exchange(t *testing.T, pod *pod.Pod, requests []request) {
	t.Helper()
	served := map[netip.AddrPort]bool{}
	for _, r := range requests {
		if served[r.to] {
			continue
		}
		served[r.to] = true
		if r.proxy == "outbound" {
			pod.Reach(t, r.to.Addr())
			serveHTTP(t, pod.Peer, flow.Identity{}, r.to)
		} else {
			serveHTTP(t, pod.Pod, podApp, r.to)
		}
	}
	for _, r := range requests {
		t.Run(r.name+"/"+familyOf(r.to.Addr()).String(), func(t *testing.T) { r.send(t) })
	}
}

func familyOf(a netip.Addr) inet.Family {
	if a.Is4() {
		return inet.IPv4
	}
	return inet.IPv6
}

// send makes two requests, one small and one large, which may share a connection.
func (r request) send(t *testing.T) {
	t.Helper()
	transport := &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		return r.node.Dial(r.who, netip.MustParseAddrPort(addr))
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: haproxyTimeout}
	for _, size := range []int{1, 1 << 20} {
		body := bytes.Repeat([]byte{'x'}, size)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.to.String()+"/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(body, got) {
			t.Errorf("of %d bytes %d came back, with status %s", len(body), len(got), resp.Status)
		}
		want := []string{"", r.to.String(), r.from.String()}
		if r.proxy != "" {
			want[0] = fmt.Sprintf("%s %s %d", r.proxy, r.to.Addr(), r.to.Port())
		}
		seen := []string{resp.Header.Get("Proxy"), resp.Header.Get("End"), resp.Header.Get("From")}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("proxy, end and client of the connection (-want +got):\n%s", diff)
		}
	}
}

// haproxyTimeout limits every wait; it is reached only if something is broken.
const haproxyTimeout = 10 * time.Second

// serveHTTP answers requests with their own body, and with the addresses of their
// connection.
func serveHTTP(t *testing.T, node *pod.Node, who flow.Identity, at netip.AddrPort) {
	t.Helper()
	listener := node.Listen(t, who, at, false)
	server := &http.Server{ReadHeaderTimeout: haproxyTimeout, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		client := netip.MustParseAddrPort(r.RemoteAddr)
		w.Header().Set("End", r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		w.Header().Set("From", client.Addr().String())
		_, _ = w.Write(body)
	})}
	served := make(chan error)
	// The sockets that the user's thread accepts belong to the user.
	go func() { served <- node.As(who, func() error { return server.Serve(listener) }) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served //nolint:errcheck // it was closed
	})
}
