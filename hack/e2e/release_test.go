package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dist runs the command that makes releases.
func dist(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	flags := []string{"run", "-C", "../dist", ".", "-version", "v1.2.3", "-time", "1700000000", "-ldflags", "-s -w -X main.release=v1.2.3"}
	return exec.CommandContext(t.Context(), "go", append(flags, args...)...)
}

// TestDebIsInstalledRunAndRemoved does so in the Debian that the image is made from.
func TestDebIsInstalledRunAndRemoved(t *testing.T) {
	needBuilt(t)
	released := filepath.Join(t.TempDir(), "dist")
	if err := run(dist(t, "-out", released)); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "debian")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := run(exec.CommandContext(t.Context(), "tar", "-C", root, "-xf", "../../bin/debian.tar")); err != nil {
		t.Fatal(err)
	}
	inside := func(command string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "chroot", root, "/bin/sh", "-ec", command)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}
		var out strings.Builder
		cmd.Stdout = &out
		if err := run(cmd); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	const files = `find / -xdev -path /proc -prune -o -path /sys -prune -o -path '/var/lib/dpkg/*' -prune -o -path /var/log -prune -o -print | sort`
	arch := strings.TrimSpace(inside("dpkg --print-architecture"))
	if err := run(exec.CommandContext(t.Context(), "cp", filepath.Join(released, "istio-init-v1.2.3-linux-"+arch+".deb"), root+"/package.deb")); err != nil {
		t.Fatal(err)
	}
	before := inside(files)
	inside("dpkg --install /package.deb")
	for command, want := range map[string]string{
		"istio-init version":                             "istio-init v1.2.3 ",
		"istio-cni --version":                            "v1.2.3 ",
		"istio-init -u 1337 -b '*' -i '*' --dry-run":     "-A ISTIO_OUTPUT -j ISTIO_REDIRECT",
		"cat /usr/lib/systemd/system/istio-init.service": "ExecStart=/usr/bin/istio-init apply",
		"dpkg-query --show istio-init":                   "istio-init\t1.2.3",
	} {
		if got := inside(command + " 2>/dev/null"); !strings.Contains(got, want) {
			t.Errorf("%s prints %q, want %q in it", command, got, want)
		}
	}
	inside("dpkg --remove istio-init")
	if diff := cmp.Diff(before, inside(files)); diff != "" {
		t.Errorf("the files before and after (-want +got):\n%s", diff)
	}
}

// TestImageListNamesProgramAndPackages reads the list that make image-list makes.
func TestImageListNamesProgramAndPackages(t *testing.T) {
	root := unpackedImage(t)
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := run(exec.CommandContext(t.Context(), "tar", "-C", root.dir, "--exclude=./proc", "--exclude=./dev", "-cf", archive, ".")); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	list := dist(t, "-image", archive)
	list.Stdout = &text
	if err := run(list); err != nil {
		t.Fatal(err)
	}
	var found struct {
		Components []struct {
			Name     string
			Licenses []any
			Evidence struct{ Licenses []any }
		}
	}
	if err := json.Unmarshal([]byte(text.String()), &found); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, c := range found.Components {
		named[c.Name] = true
		if len(c.Licenses)+len(c.Evidence.Licenses) == 0 {
			t.Errorf("%s has no license", c.Name)
		}
	}
	for _, name := range []string{"istio-init", "github.com/vishvananda/netlink", "iptables", "libc6", "libxtables12"} {
		if !named[name] {
			t.Errorf("%s is not in the list: %v", name, named)
		}
	}
}
