package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/test/kernel"
)

// A pod is a manifest of testdata, run by podman, with a peer that it is linked to.
type pod struct {
	name, mode string
	backend    backend
	peer       *kernel.NetNS
	netns      string // of the pod
}

// A backend is an image, and what makes its program use a backend.
type backend struct {
	name, image string
	env         string          // an entry of a manifest; "": the image decides
	variant     xtables.Variant // whose programs of this machine print and make foreign rules
	excluded    string          // the list of -d, as the rules have it
}

// backends are both variants of iptables, and native nftables.
var backends = []backend{
	{"nft", image, `- {name: FORCE_IPTABLES_BINARY, value: nft}`, xtables.NFT, "15090,15021,15020"},
	{"legacy", image, `- {name: FORCE_IPTABLES_BINARY, value: legacy}`, xtables.Legacy, "15090,15021,15020"},
	{"nftables", nativeImage, "", xtables.NFT, "15020-15021,15090"},
}

// play starts a pod, with the container network of testdata/connect, and returns when
// podman reports that it runs: the init containers have succeeded.
func play(t *testing.T, mode string, b backend) *pod {
	t.Helper()
	p := &pod{name: strings.ToLower(mode) + "-" + b.name, mode: mode, backend: b, peer: kernel.NewNetNS(t)}
	text, err := os.ReadFile("testdata/" + strings.ToLower(mode) + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(t.TempDir(), "pod.yaml")
	text = []byte(strings.NewReplacer("${POD}", p.name, "${IMAGE}", b.image, "${BACKEND}", b.env).Replace(string(text)))
	if err := os.WriteFile(manifest, text, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(t) })
	podman(t, "--hooks-dir", p.hook(t), "kube", "play", "--network", "none", manifest)
	pid := podman(t, "container", "inspect", "--format", "{{.State.Pid}}", p.name+"-app")
	p.netns = "/proc/" + strings.TrimSpace(pid) + "/ns/net"
	return p
}

// hook makes the runtime connect the pod; see oci-hooks(5).
func (p *pod) hook(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script, err := filepath.Abs("testdata/connect")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{
		"version": "1.0.0",
		"hook": {"path": %q, "args": ["connect", %q], "env": ["PATH=%s"]},
		"when": {"always": true},
		"stages": ["createRuntime"]
	}`, script, p.peer.Path(), os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(dir, "connect.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// end removes the pod, and prints the logs of its containers if the test has failed.
func (p *pod) end(t *testing.T) {
	t.Helper()
	if t.Failed() {
		for _, name := range []string{"istio-init", "istio-validation", "istio-proxy", "app"} {
			said, err := podmanSays("logs", p.name+"-"+name)
			t.Logf("%s (%v):\n%s", name, err, said)
		}
	}
	if _, err := runPodman("pod", "rm", "--force", "--time", "0", p.name); err != nil {
		t.Error(err)
	}
}

// confined has the podman options for the security context of Istio's init container.
var confined = []string{
	"--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "--read-only", "--security-opt", "no-new-privileges",
}

// run runs the program in an additional container of the pod, with the security context of
// the init container, and returns its output.
func (p *pod) run(args ...string) (string, error) {
	words := append([]string{"run", "--rm", "--pod", p.name}, confined...)
	return podmanSays(append(append(words, p.backend.image), args...)...)
}

// inside runs a program of this machine in the network of the pod.
func (p *pod) inside(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "nsenter", append([]string{"--net=" + p.netns, name}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out strings.Builder
	cmd.Stdout = &out
	if err := run(cmd); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// counts matches the counters and the time in a listing of rules.
var counts = regexp.MustCompile(`(?m)^#.*\n| \[\d+:\d+\]$|counter packets \d+ bytes \d+ `)

// state returns everything that the program could change: rules, with their nft handles,
// which change when a rule is rewritten, policy routing and addresses.
func (p *pod) state(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, command := range []string{
		"nft --handle list ruleset", "iptables-" + p.backend.variant.String() + "-save", "ip6tables-" + p.backend.variant.String() + "-save",
		"ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all", "ip address",
	} {
		words := strings.Fields(command)
		fmt.Fprintf(&text, "== %s\n%s", command, counts.ReplaceAllString(p.inside(t, "", words[0], words[1:]...), ""))
	}
	return text.String()
}
