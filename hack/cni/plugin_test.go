package cni

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

// injected are the annotations that Istio's injector writes to a pod that waits for a CNI
// plugin, with others instead or besides.
func injected(others map[string]string) map[string]string {
	all := map[string]string{
		"istio.io/rev":                      "default",
		"sidecar.istio.io/interceptionMode": "REDIRECT",
		"sidecar.istio.io/status": `{"initContainers":["istio-validation"],"containers":["istio-proxy"],` +
			`"volumes":["workload-socket"],"imagePullSecrets":null,"revision":"default"}`,
		"traffic.sidecar.istio.io/excludeInboundPorts":     "15020",
		"traffic.sidecar.istio.io/includeInboundPorts":     "*",
		"traffic.sidecar.istio.io/includeOutboundIPRanges": "*",
	}
	maps.Copy(all, others)
	return all
}

// flags are those of istio-init that make the rules of [injected] without others.
var flags = []string{
	"-p", "15001", "-z", "15006", "-u", "1337", "-g", "1337", "-m", "REDIRECT",
	"-i", "*", "-x", "", "-b", "*", "-d", "15020,15021,15090", "-o", "15020",
}

// validation is the container that the injector adds.
var validation = []string{
	"/istio-init", "istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT",
	"-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020", "--run-validation", "--skip-rule-apply",
}

// The users of the containers.
const (
	proxyUser = 1337
	appUser   = 1000
)

// outside is a port of the node that answers "direct".
func outside(t *testing.T) (port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("direct"))
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}

// install runs the installer on the directories of the node, and waits until containerd
// has read them.
func (n *node) install(t *testing.T) {
	t.Helper()
	n.manage(t, "install")
	n.waitForConf(t, "istio-cni", true)
}

func (n *node) uninstall(t *testing.T) {
	t.Helper()
	n.manage(t, "uninstall")
	n.waitForConf(t, "istio-cni", false)
}

// manage runs a command of the installer.
func (n *node) manage(t *testing.T, words ...string) {
	t.Helper()
	command(t, "istio-cni", append(words, "--cni-bin-dir", n.bin, "--cni-conf-dir", n.conf)...)
}

// TestPodsOfContainerd starts pods as the kubelet does, in a node that the installer has
// prepared, and makes connections from and to them.
func TestPodsOfContainerd(t *testing.T) {
	n := startNode(t, 1)
	n.install(t)
	port := outside(t)
	t.Run("injected", func(t *testing.T) { n.wantCaptured(t, port, "web") })
	none := map[string]string{
		"sidecar.istio.io/interceptionMode": "NONE",
		"sidecar.istio.io/status":           `{"initContainers":null,"containers":["istio-proxy"],"volumes":[],"imagePullSecrets":null,"revision":"default"}`,
	}
	for name, c := range map[string]struct {
		namespace   string
		annotations map[string]string
	}{
		"excluded-namespace": {"kube-system", injected(nil)},
		"mode-none":          {"demo", injected(none)},
		"not-injected":       {"demo", map[string]string{"traffic.sidecar.istio.io/includeInboundPorts": "*"}},
		"no-annotations":     {"demo", nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := n.mustRun(t, sandbox(c.namespace, name, c.annotations))
			p.wantCalls(t, port, "direct", "direct")
			p.stop(t)
		})
	}
	t.Run("host-network", func(t *testing.T) {
		before := command(t, "nft", "list", "ruleset")
		p := n.mustRun(t, onHost(sandbox("demo", "host", injected(nil))))
		if after := command(t, "nft", "list", "ruleset"); before != after {
			t.Errorf("rules of the node: %s", after)
		}
		p.stop(t)
	})
	t.Run("native-nftables", func(t *testing.T) {
		entry := t.TempDir() + "/netconf.json"
		write(t, entry, `{"type": "istio-cni", "native_nftables": true, "capabilities": {"io.kubernetes.cri.pod-annotations": true}}`)
		n.manage(t, "install", "--netconf", entry)
		n.waitForConf(t, "native_nftables", true)
		n.wantCaptured(t, port, "native")
	})
}

// wantCaptured starts an injected pod, with the containers that the injector adds.
func (n *node) wantCaptured(t *testing.T, port int, name string) {
	t.Helper()
	p := n.mustRun(t, sandbox("demo", name, injected(nil)))
	if code := p.exitCode(t, p.start(t, "istio-validation", proxyUser, validation...)); code != 0 {
		t.Fatalf("istio-validation: exit code %d, want 0\n%s", code, p.log(t, "istio-validation"))
	}
	p.start(t, "istio-proxy", proxyUser, "/program", "proxy")
	p.wantCalls(t, port, "proxy 15001", "proxy 15006")
	p.stop(t)
}

// wantCalls makes a connection from the pod to the node and one from the node to the pod,
// and compares who answers.
func (p *pod) wantCalls(t *testing.T, port int, outbound, inbound string) {
	t.Helper()
	app := p.start(t, "app", appUser, "/program", "serve", ":8080")
	gateway := fmt.Sprintf("10.%d.0.1:%d", p.node.network, port)
	if outbound != "direct" {
		outbound += " " + gateway
		inbound += " " + p.ips[0] + ":8080"
	}
	if got := p.call(t, app, gateway); got != outbound {
		t.Errorf("from the pod: %q, want %q", got, outbound)
	}
	wait(t, "the app", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "program", "call", p.ips[0]+":8080").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		if got := strings.TrimSpace(string(out)); got != inbound {
			t.Errorf("to the pod: %q, want %q", got, inbound)
		}
		return nil
	})
}

// TestBadAnnotationFailsThePod checks the message that the kubelet writes into the pod's
// events, and that the next pod starts.
func TestBadAnnotationFailsThePod(t *testing.T) {
	n := startNode(t, 2)
	n.install(t)
	const key = "traffic.sidecar.istio.io/excludeOutboundPorts"
	for name, value := range map[string]string{
		"command": "5432; touch /tmp/owned", "quotes": `5432" -j ACCEPT; "`, "lines": "5432\nCOMMIT\n*nat\n-F", "control": "54\x0132",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := n.run(t.Context(), sandbox("demo", name, injected(map[string]string{key: value})))
			if err == nil {
				t.Fatal("the pod started")
			}
			t.Log(err)
			if want := fmt.Sprintf("annotation %s %q", key, value); !strings.Contains(err.Error(), want) {
				t.Errorf("want %s", want)
			}
		})
	}
	p := n.mustRun(t, sandbox("demo", "next", injected(nil)))
	n.wantRules(t, p)
}

// TestPodsAtOnce starts 50 pods at once.
func TestPodsAtOnce(t *testing.T) {
	n := startNode(t, 3)
	n.install(t)
	pods := make([]*pod, 50)
	group, ctx := errgroup.WithContext(t.Context())
	for i := range pods {
		group.Go(func() (err error) {
			pods[i], err = n.run(ctx, sandbox("demo", fmt.Sprint("web-", i), injected(nil)))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		n.wantRules(t, p)
	}
}

// TestPodsStartAndStopWithoutThePlugin uninstalls while a pod runs.
func TestPodsStartAndStopWithoutThePlugin(t *testing.T) {
	n := startNode(t, 4)
	before := read(t, n.conf+"/10-bridge.conflist")
	n.install(t)
	port := outside(t)
	old := n.mustRun(t, sandbox("demo", "old", injected(nil)))
	n.uninstall(t)
	if diff := cmp.Diff(before, read(t, n.conf+"/10-bridge.conflist")); diff != "" {
		t.Errorf("the configuration after uninstall (-want +got):\n%s", diff)
	}
	n.wantRules(t, old)
	old.stop(t)
	fresh := n.mustRun(t, sandbox("demo", "fresh", injected(nil)))
	fresh.wantCalls(t, port, "direct", "direct")
	fresh.stop(t)
}
