package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The images. A manifest calls them by these names too.
const (
	image       = "localhost/istio-init"
	nativeImage = "localhost/istio-init-native"
	cniImage    = "localhost/istio-cni"
	appImage    = "localhost/istio-init-app"
)

// largest is the maximum total size of the files in the image.
const largest = 11_500_000

// program is the path of the program in the image.
const program = "/usr/local/bin/istio-init"

// TestImageSize also logs the size.
func TestImageSize(t *testing.T) {
	root, total := unpackedImage(t), int64(0)
	for _, size := range root.sizes {
		total += size
	}
	t.Logf("%d bytes unpacked, %d of them the program", total, root.sizes[program])
	if total > largest {
		t.Errorf("the image has %d bytes unpacked, want at most %d", total, largest)
	}
}

// TestImageConfiguration checks entry point, user, environment and labels.
func TestImageConfiguration(t *testing.T) {
	needBuilt(t)
	var images []struct {
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(podman(t, "image", "inspect", image)), &images); err != nil {
		t.Fatal(err)
	}
	c := images[0].Config
	got := []string{c.User, strings.Join(c.Entrypoint, " "), c.Labels["org.opencontainers.image.title"]}
	if diff := cmp.Diff([]string{"0:0", "istio-init", "istio-init"}, got); diff != "" {
		t.Errorf("user, entry point and title (-want +got):\n%s", diff)
	}
	for _, name := range []string{"description", "version", "revision", "base.name"} {
		if _, ok := c.Labels["org.opencontainers.image."+name]; !ok {
			t.Errorf("the image has no label %s", name)
		}
	}
}

// TestNamesOfIstioTools runs the program by each of the names, as manifests do.
func TestNamesOfIstioTools(t *testing.T) {
	needBuilt(t)
	flags := []string{"-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020"}
	rules := podman(t, append([]string{"run", "--rm", "--network", "none", image, "apply", "--dry-run"}, flags...)...)
	if !strings.Contains(rules, "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001") {
		t.Fatalf("apply --dry-run prints\n%s", rules)
	}
	for _, command := range []string{"istio-init", "istio-iptables", "pilot-agent istio-iptables"} {
		t.Run(strings.ReplaceAll(command, " ", "-"), func(t *testing.T) {
			words := strings.Fields(command)
			args := append([]string{"run", "--rm", "--network", "none", "--entrypoint", words[0], image}, words[1:]...)
			if diff := cmp.Diff(rules, podman(t, append(append(args, "--dry-run"), flags...)...)); diff != "" {
				t.Errorf("other rules than by apply (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("istio-clean-iptables", func(t *testing.T) {
		podman(t, "run", "--rm", "--network", "none", "--cap-add", "NET_ADMIN", "--entrypoint", "istio-clean-iptables", image)
	})
}
