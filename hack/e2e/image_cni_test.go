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

// TestCNIImageHasTheTwoPrograms checks the files of the image of the CNI plugin, its user and
// entry point, and that an installation from it is whole.
func TestCNIImageHasTheTwoPrograms(t *testing.T) {
	needBuilt(t)
	dir, files := mountedImage(t, cniImage)
	if diff := cmp.Diff([]string{"/usr/local/bin/istio-cni", program}, files); diff != "" {
		t.Errorf("files of the image (-want +got):\n%s", diff)
	}
	var images []struct {
		Config struct {
			User            string
			Entrypoint, Env []string
		}
	}
	if err := json.Unmarshal([]byte(podman(t, "image", "inspect", cniImage)), &images); err != nil {
		t.Fatal(err)
	}
	c := images[0].Config
	got := append([]string{c.User, strings.Join(c.Entrypoint, " ")}, c.Env...)
	if diff := cmp.Diff([]string{"0:0", "istio-cni", "PATH=/usr/local/bin"}, got); diff != "" {
		t.Errorf("user, entry point and environment (-want +got):\n%s", diff)
	}
	bin, conf := installFromImage(t)
	if err := run(exec.Command("cmp", filepath.Join(dir, files[0]), filepath.Join(bin, "istio-cni"))); err != nil {
		t.Error(err)
	}
	if err := run(exec.Command("grep", "pod-annotations", filepath.Join(conf, "10-main.conflist"))); err != nil {
		t.Error(err)
	}
}

// installFromImage runs the installer as the DaemonSet of examples/cni does, with the same
// capability and a root file system that is read-only.
func installFromImage(t *testing.T) (bin, conf string) {
	t.Helper()
	bin, conf = t.TempDir(), t.TempDir()
	main := `{"cniVersion": "1.0.0", "name": "main", "plugins": [{"type": "bridge"}]}`
	if err := os.WriteFile(filepath.Join(conf, "10-main.conflist"), []byte(main), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"install", "status"} {
		podman(t, "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--cap-add", "DAC_OVERRIDE",
			"--security-opt", "no-new-privileges", "--volume", bin+":/host/bin", "--volume", conf+":/host/conf",
			cniImage, command, "--cni-bin-dir", "/host/bin", "--cni-conf-dir", "/host/conf")
	}
	return bin, conf
}
