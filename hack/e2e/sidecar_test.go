package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"istio-init/hack/e2e/echo"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// TestPodTrafficGoesThroughTheSidecar runs a pod in each mode and with each backend.
func TestPodTrafficGoesThroughTheSidecar(t *testing.T) {
	needBuilt(t)
	for _, mode := range []string{"REDIRECT", "TPROXY"} {
		for _, b := range backends {
			t.Run(mode+"/"+b.name, func(t *testing.T) {
				p := play(t, mode, b)
				if mode == "TPROXY" {
					p.markUpstream(t)
				}
				p.serveOutside(t)
				p.await(t)
				t.Run("init", p.hasStarted)
				t.Run("traffic", p.exchange)
				t.Run("check", p.isChecked)
				t.Run("restart", p.startsInitAgain)
			})
		}
	}
}

// hasStarted checks the two init containers.
func (p *pod) hasStarted(t *testing.T) {
	var containers []struct {
		EffectiveCaps []string
		HostConfig    struct {
			ReadonlyRootfs bool
			SecurityOpt    []string
		}
		State struct{ ExitCode int }
	}
	text := podman(t, "container", "inspect", p.name+"-istio-init", p.name+"-istio-validation")
	if err := json.Unmarshal([]byte(text), &containers); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"CAP_NET_ADMIN", "CAP_NET_RAW"}, nil} {
		c := containers[i]
		if !slices.Equal(want, c.EffectiveCaps) || !c.HostConfig.ReadonlyRootfs || !slices.Contains(c.HostConfig.SecurityOpt, "no-new-privileges") {
			t.Errorf("container %d was not confined as the manifest says: %+v", i, c)
		}
		if c.State.ExitCode != 0 {
			t.Errorf("container %d has ended with %d", i, c.State.ExitCode)
		}
	}
	p.says(t, "istio-init", "rules applied\t", 2)
	p.says(t, "istio-validation", "Validation passed", 1)
}

// says checks how many times a container has logged a text.
func (p *pod) says(t *testing.T, container, what string, times int) {
	t.Helper()
	said, err := podmanSays("logs", p.name+"-"+container)
	if got := strings.Count(said, what); err != nil || got != times {
		t.Errorf("%s says %q %d times, want %d (%v):\n%s", container, what, got, times, err, said)
	}
}

// isChecked runs check in the pod.
func (p *pod) isChecked(t *testing.T) {
	said, err := p.run("check")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{p.mode, p.backend.name, "15001", "15006", p.backend.excluded, "9443"} {
		if !strings.Contains(said, want) {
			t.Errorf("check does not name %s:\n%s", want, said)
		}
	}
	var flags []string
	text := podman(t, "container", "inspect", "--format", "{{json .Config.Cmd}}", p.name+"-istio-init")
	if err := json.Unmarshal([]byte(text), &flags); err != nil {
		t.Fatal(err)
	}
	flags = append([]string{"check", "--dual-stack"}, flags[1:]...)
	if said, err := p.run(flags...); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(flags, " "), err, said)
	}
	flags = append(flags, "-o", "9444")
	if said, err := p.run(flags...); err == nil || !strings.Contains(said, "9444") {
		t.Errorf("%s: %v, want that a rule is missing:\n%s", strings.Join(flags, " "), err, said)
	}
}

// startsInitAgain runs the init container a second time, as the kubelet may after a
// restart.
func (p *pod) startsInitAgain(t *testing.T) {
	before := p.state(t)
	if said, err := podmanSays("start", "--attach", p.name+"-istio-init"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if diff := cmp.Diff(before, p.state(t)); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
	p.says(t, "istio-init", "rules in order, nothing written\t", 2)
	p.exchange(t)
}

// markUpstream marks what the sidecar sends to the app from a client's address. A proxy in
// mode TPROXY has to set this mark, as Envoy does. HAProxy supports it since 3.0 only
// (http-request set-bc-mark), so the test does it.
func (p *pod) markUpstream(t *testing.T) {
	t.Helper()
	if p.backend.image == nativeImage { // which cannot read rules of iptables
		p.inside(t, `table inet upstream {
	chain output {
		type route hook output priority mangle; policy accept;
		oifname "lo" meta l4proto tcp meta skgid 1337 fib saddr type != local meta mark set 0x539
	}
}
`, "nft", "-f", "-")
		return
	}
	const rule = "*mangle\n-A OUTPUT -o lo -p tcp -m owner --gid-owner 1337 -m addrtype ! --src-type LOCAL -j MARK --set-xmark 0x539/0xffffffff\nCOMMIT\n"
	for _, f := range inet.Families {
		p.inside(t, rule, strings.Replace(xtables.SaveTool(f), "-save", "-"+p.backend.variant.String()+"-restore", 1), "--noflush")
	}
}

// await returns when the sidecar and the app accept connections.
func (p *pod) await(t *testing.T) {
	t.Helper()
	deadline := time.After(echo.Timeout)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for _, port := range []string{"15001", "15006", "8080", "15021"} {
		for {
			conn, err := dialIn(p.netns, "127.0.0.1:"+port)
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-again.C:
			case <-deadline:
				t.Fatalf("nothing listens in the pod: %v", err)
			}
		}
	}
}

// dialIn connects from a network namespace. The destination is an address, because a name
// would be resolved, and the socket created, on another thread.
func dialIn(netns, addr string) (conn net.Conn, err error) {
	err = netutil.InNetNS(netns, func() error {
		conn, err = (&net.Dialer{Timeout: echo.Timeout}).Dial("tcp", addr)
		return err
	})
	return conn, err
}

// The hosts of the network, by family.
var (
	podAddr     = [...]netip.Addr{netip.MustParseAddr("10.244.0.2"), netip.MustParseAddr("2001:db8:244::2")}
	peerAddr    = [...]netip.Addr{netip.MustParseAddr("10.244.0.1"), netip.MustParseAddr("2001:db8:244::1")}
	outside     = [...]netip.Addr{netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("2001:db8:e::10")}
	passthrough = [...]netip.Addr{netip.MustParseAddr("127.0.0.6"), netip.MustParseAddr("::6")}
)

// serveOutside serves HTTP outside, beyond the peer.
func (p *pod) serveOutside(t *testing.T) {
	t.Helper()
	for _, port := range []string{":80", ":9080", ":9443"} {
		var listener net.Listener
		p.peer.Do(t, func() (err error) {
			listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", port)
			return err
		})
		server := &http.Server{Handler: echo.Handler, ReadHeaderTimeout: echo.Timeout}
		served := make(chan error)
		go func() { served <- server.Serve(listener) }()
		t.Cleanup(func() {
			_ = server.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}

// exchange makes requests in each direction and family.
func (p *pod) exchange(t *testing.T) {
	t.Helper()
	for _, f := range inet.Families {
		client := passthrough[f] // of what the sidecar sends to the app
		if p.mode == "TPROXY" {
			client = peerAddr[f]
		}
		for _, r := range []struct {
			name   string
			from   func(t *testing.T, url string) string
			to     netip.AddrPort
			proxy  string // "" for none
			client netip.Addr
		}{
			{"out", p.callFromApp, netip.AddrPortFrom(outside[f], 80), "outbound", podAddr[f]},
			{"out-to-another-port", p.callFromApp, netip.AddrPortFrom(outside[f], 9080), "outbound", podAddr[f]},
			{"out-to-an-excluded-port", p.callFromApp, netip.AddrPortFrom(outside[f], 9443), "", podAddr[f]},
			{"in", p.callFromPeer, netip.AddrPortFrom(podAddr[f], 8080), "inbound", client},
			{"in-to-an-excluded-port", p.callFromPeer, netip.AddrPortFrom(podAddr[f], 15021), "", peerAddr[f]},
			{"to-itself", p.callFromApp, netip.AddrPortFrom(podAddr[f], 8080), "", podAddr[f]},
		} {
			t.Run(r.name+"/"+f.String(), func(t *testing.T) {
				want := echo.Way(r.proxy, r.to, r.client)
				if diff := cmp.Diff(want, r.from(t, "http://"+r.to.String()+"/")); diff != "" {
					t.Errorf("another way (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// callFromApp makes requests from the app, in its container and as its user.
func (p *pod) callFromApp(t *testing.T, url string) string {
	t.Helper()
	return strings.TrimSpace(podman(t, "exec", p.name+"-app", "/app", "call", url))
}

func (p *pod) callFromPeer(t *testing.T, url string) string {
	t.Helper()
	transport := &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		return dialIn(p.peer.Path(), addr)
	}}
	defer transport.CloseIdleConnections()
	way, err := echo.Call(t.Context(), transport, url)
	if err != nil {
		t.Fatal(err)
	}
	return way
}
