package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// store is the directory of this run, which hack/e2e/run makes and removes.
var store = os.Getenv("E2E")

// needBuilt skips a test like [needRun], and builds the images.
func needBuilt(t *testing.T) {
	t.Helper()
	needRun(t)
	if err := built(); err != nil {
		t.Fatal(err)
	}
}

// needRun skips a test unless hack/e2e/run runs it.
func needRun(t *testing.T) {
	t.Helper()
	if store == "" {
		t.Skip("skipped, the image was not tested; run it as root: make e2e")
	}
	for _, program := range []string{"podman", "runc", "debootstrap", "strace"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("KERNEL_TESTS") == "require" {
			t.Fatalf("KERNEL_TESTS=require: %s is not installed", program)
		}
		t.Skipf("skipped, the image was not tested: %s is not installed; hack/e2e/setup installs it", program)
	}
}

// built builds the images, once.
var built = sync.OnceValue(func() error {
	if err := configure(); err != nil {
		return err
	}
	for _, words := range [][]string{{nativeImage, "native"}, {cniImage, "cni"}, {image}} {
		build := exec.Command("../image-local", words...)
		build.Env = podmanEnv()
		if err := run(build); err != nil {
			return err
		}
	}
	app := filepath.Join(store, "app")
	compile := exec.Command("go", "build", "-ldflags", "-s -w", "-o", app, "./app")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := run(compile); err != nil {
		return err
	}
	if err := run(exec.Command("tar", "-C", store, "-cf", app+".tar", "app")); err != nil {
		return err
	}
	_, err := runPodman("import", "--quiet", "--change", `ENTRYPOINT ["/app"]`, "--change", `CMD ["pause"]`, app+".tar", appImage)
	return err
})

// configure makes podman keep everything in the store, and adapts it to small machines: no
// systemd, few open files. Our own app is the infra container of a pod.
func configure() error {
	files := map[string]string{
		"containers.conf": `
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "STORE/libpod"
infra_image = "` + appImage + `"
infra_command = "/app pause"
[network]
network_config_dir = "STORE/net"
`,
		"storage.conf": `
[storage]
driver = "DRIVER"
graphroot = "STORE/root"
runroot = "STORE/run"
`,
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(store, &fs); err != nil {
		return err
	}
	driver := "overlay"
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC { // which cannot be on itself
		driver = "vfs"
	}
	for name, text := range files {
		text = strings.NewReplacer("STORE", store, "DRIVER", driver).Replace(text)
		if err := os.WriteFile(filepath.Join(store, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func podmanEnv() []string {
	return append(os.Environ(), "CONTAINERS_CONF="+store+"/containers.conf", "CONTAINERS_STORAGE_CONF="+store+"/storage.conf")
}

// podman runs podman, which has to succeed, and returns its standard output.
func podman(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runPodman(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// runPodman returns the standard output of podman; the error has the other one.
func runPodman(args ...string) (string, error) {
	cmd := exec.Command("podman", args...)
	cmd.Env = podmanEnv()
	var out bytes.Buffer
	cmd.Stdout = &out
	err := run(cmd)
	return out.String(), err
}

// podmanSays returns the output of podman, even if it fails.
func podmanSays(args ...string) (string, error) {
	cmd := exec.Command("podman", args...)
	cmd.Env = podmanEnv()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a command; the error has its output.
func run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, &out)
	}
	return nil
}
