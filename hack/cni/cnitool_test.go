package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A tool calls plugins with cnitool, as containerd calls them, for one network namespace.
type tool struct {
	network   int
	namespace string // the path
	conf      string // the directory of configurations
	env       []string
}

// newTool makes the namespace of a pod with annotations, and the configuration of a network
// with bridge, host-local and our plugin.
func newTool(t *testing.T, network int, annotations map[string]string) tool {
	t.Helper()
	needRun(t)
	name := fmt.Sprint("pod", network)
	c := tool{network: network, namespace: "/run/netns/" + name, conf: t.TempDir()}
	c.configure(t, bridge(network, `,
    {
      "type": "istio-cni",
      "exclude_namespaces": ["kube-system"],
      "capabilities": {"io.kubernetes.cri.pod-annotations": true}
    }`))
	args, err := json.Marshal(map[string]any{"io.kubernetes.cri.pod-annotations": annotations})
	if err != nil {
		t.Fatal(err)
	}
	command(t, "ip", "netns", "add", name)
	command(t, "ip", "-netns", name, "link", "set", "lo", "up") // as runtimes do
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	c.env = append(os.Environ(), "NETCONFPATH="+c.conf,
		"CNI_PATH="+filepath.Join(store, "plugins")+":"+filepath.Join(store, "bin"), "CAP_ARGS="+string(args),
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME="+name)
	return c
}

// configure sets the configuration of the network.
func (c tool) configure(t *testing.T, text string) {
	t.Helper()
	write(t, c.conf+"/10-bridge.conflist", text)
}

// call runs a command of cnitool and returns what the last plugin of the list has answered.
func (c tool) call(t *testing.T, verb string) (string, error) {
	t.Helper()
	tool := exec.CommandContext(t.Context(), "cnitool", verb, fmt.Sprint("net", c.network), c.namespace)
	tool.Env = c.env
	var out, log bytes.Buffer
	tool.Stdout, tool.Stderr = &out, &log
	err := tool.Run()
	if err != nil {
		err = fmt.Errorf("cnitool %s: %w\n%s%s", verb, err, &out, &log)
	}
	return out.String(), err
}

func (c tool) mustCall(t *testing.T, verb string) string {
	t.Helper()
	out, err := c.call(t, verb)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// inside is a program in the namespace, as a user.
func (c tool) inside(ctx context.Context, user int, words ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{
		"--net=" + c.namespace, "--setuid", fmt.Sprint(user), "--setgid", fmt.Sprint(user),
	}, words...)...)
}

// serve starts a program in the namespace, until the test ends.
func (c tool) serve(t *testing.T, user int, words ...string) {
	t.Helper()
	server := c.inside(t.Context(), user, words...)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Wait() })
}

// TestVerbsOfCNITool calls each verb, twice where a runtime does, and makes connections.
func TestVerbsOfCNITool(t *testing.T) {
	c := newTool(t, 21, injected(nil))
	port := outside(t)
	added := c.mustCall(t, "add")
	var result struct {
		Interfaces []struct{ Name, Sandbox string }
		IPs        []struct{ Address string }
	}
	if err := json.Unmarshal([]byte(added), &result); err != nil || len(result.IPs) != 2 || len(result.Interfaces) != 3 {
		t.Fatalf("want the result of the plugins before ours, got %v\n%s", err, added)
	}
	c.mustCall(t, "check")
	c.serve(t, proxyUser, "program", "proxy")
	c.serve(t, appUser, "program", "serve", ":8080")
	gateway, ip := fmt.Sprintf("10.%d.0.1:%d", c.network, port), strings.Split(result.IPs[0].Address, "/")[0]
	for _, w := range []struct {
		call func(context.Context) *exec.Cmd
		want string
	}{
		{func(ctx context.Context) *exec.Cmd { return c.inside(ctx, appUser, "program", "call", gateway) }, "proxy 15001 " + gateway},
		{func(ctx context.Context) *exec.Cmd { return c.inside(ctx, proxyUser, "program", "call", gateway) }, "direct"},
		{func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, "program", "call", ip+":8080") }, "proxy 15006 " + ip + ":8080"},
	} {
		wait(t, w.want, func(ctx context.Context) error {
			out, err := w.call(ctx).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err == nil && got != w.want {
				t.Errorf("%q, want %q", got, w.want)
			}
			return err
		})
	}
	c.mustCall(t, "del")
	c.mustCall(t, "del")
}

// TestCheckNamesTheDrift removes a rule of the pod.
func TestCheckNamesTheDrift(t *testing.T) {
	c := newTool(t, 22, injected(nil))
	c.mustCall(t, "add")
	if out, err := c.inside(t.Context(), 0, "iptables-nft", "-t", "nat", "-D", "ISTIO_INBOUND", "-p", "tcp", "--dport", "15021", "-j", "RETURN").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := c.call(t, "check")
	if err == nil || !strings.Contains(err.Error(), "15021") {
		t.Errorf("want an error with the rule, got %v\n%s", err, out)
	}
	c.mustCall(t, "del")
}

// TestStatusOfCNITool asks for what a runtime asks before it starts pods, from version 1.1.0
// of the specification on.
func TestStatusOfCNITool(t *testing.T) {
	c := newTool(t, 23, nil)
	for more, want := range map[string]string{"": "", `, "ambient_enabled": true`: "ambient"} {
		text := `{"cniVersion": "1.1.0", "name": "net23", "plugins": [{"type": "istio-cni", "capabilities": {"io.kubernetes.cri.pod-annotations": true}` + more + `}]}`
		c.configure(t, text)
		switch out, err := c.call(t, "status"); {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("want an error about %s, got %v\n%s", want, err, out)
		}
	}
}
