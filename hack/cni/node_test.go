package cni

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// store is the directory of this run, which hack/cni/run makes and removes.
var store = os.Getenv("CNI_E2E")

// timeout limits what a test waits for.
const timeout = time.Minute

// needRun skips a test unless hack/cni/run runs it, in namespaces made for it.
func needRun(t *testing.T) {
	t.Helper()
	if store == "" {
		t.Skip("skipped, the plugin was not run by containerd and cnitool; run it as root: make cni-e2e")
	}
}

// A node runs containerd, with directories of its own for plugins and their configuration.
type node struct {
	cri.RuntimeServiceClient
	images    cri.ImageServiceClient
	network   int    // of its pods
	bin, conf string // the directories of CNI
	log       string // containerd's
}

// config is the configuration of containerd, as a node of Kubernetes has it but for
// limits of small machines: without CAP_SYS_RESOURCE no score of the OOM killer can be set.
const config = `
version = 2
root = "DIR/root"
state = "DIR/state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "DIR/socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + image + `"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "DIR/bin"
  conf_dir = "DIR/net.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "SNAPSHOTTER"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
`

// startNode starts a node whose pods have a bridge with this network, as 10.N.0.0/16 and
// fd00:N::/64.
func startNode(t *testing.T, network int) *node {
	t.Helper()
	needRun(t)
	dir := filepath.Join(store, fmt.Sprint("node", network))
	n := &node{network: network, bin: dir + "/bin", conf: dir + "/net.d", log: dir + "/log"}
	for _, d := range []string{n.bin, n.conf} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, plugin := range []string{"bridge", "host-local", "loopback"} {
		if err := os.Symlink(filepath.Join(store, "plugins", plugin), filepath.Join(n.bin, plugin)); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("DIR", dir, "SNAPSHOTTER", snapshotter(t)).Replace(config)
	write(t, dir+"/config.toml", text)
	write(t, n.conf+"/10-bridge.conflist", bridge(network, ""))
	n.start(t, dir)
	n.importImage(t, dir)
	t.Cleanup(func() {
		if text, err := os.ReadFile(n.log); err == nil && t.Failed() {
			lines := strings.SplitAfter(string(text), "\n")
			t.Logf("the last lines of containerd:\n%s", strings.Join(lines[max(0, len(lines)-50):], ""))
		}
	})
	return n
}

// snapshotter is that of containerd: overlay cannot be on itself, as in a container.
func snapshotter(t *testing.T) string {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(store, &fs); err != nil {
		t.Fatal(err)
	}
	const overlay = 0x794c7630 // OVERLAYFS_SUPER_MAGIC, linux/magic.h
	if fs.Type == overlay {
		return "native"
	}
	return "overlayfs"
}

// start starts containerd and waits until it answers.
func (n *node) start(t *testing.T, dir string) {
	t.Helper()
	log, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("containerd", "--config", dir+"/config.toml")
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	log.Close()
	conn, err := grpc.NewClient("unix://"+dir+"/socket", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	n.RuntimeServiceClient, n.images = cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)
	t.Cleanup(func() {
		n.removeAll(t)
		conn.Close()
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
	})
	wait(t, "containerd", func(ctx context.Context) error {
		status, err := n.Status(ctx, &cri.StatusRequest{})
		if err != nil {
			return err
		}
		for _, c := range status.Status.Conditions {
			if !c.Status {
				return fmt.Errorf("%s: %s", c.Type, c.Message)
			}
		}
		return nil
	})
}

// removeAll ends the pods.
func (n *node) removeAll(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	pods, err := n.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		t.Errorf("list the pods: %v", err)
		return
	}
	for _, pod := range pods.Items {
		if _, err := n.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.Id}); err != nil {
			t.Errorf("remove %s: %v", pod.Metadata.Name, err)
		}
	}
}

// waitForConf waits until containerd has read a configuration with a text, or one without it.
func (n *node) waitForConf(t *testing.T, text string, with bool) {
	t.Helper()
	wait(t, "the configuration", func(ctx context.Context) error {
		status, err := n.Status(ctx, &cri.StatusRequest{Verbose: true})
		if err != nil {
			return err
		}
		if has := strings.Contains(status.Info["cniconfig"], text); has != with {
			return fmt.Errorf("a configuration with %s: %t, want %t: %s", text, has, with, status.Info["cniconfig"])
		}
		return nil
	})
}

// wait calls a function until it succeeds.
func wait(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// bridge is the configuration of the node's network, with further plugins after it.
func bridge(network int, more string) string {
	return strings.NewReplacer("NUMBER", fmt.Sprint(network), "MORE", more).Replace(`{
  "cniVersion": "1.0.0",
  "name": "netNUMBER",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "netNUMBER",
      "isDefaultGateway": true,
      "ipam": {
        "type": "host-local",
        "dataDir": "` + store + `/ipam",
        "ranges": [[{"subnet": "10.NUMBER.0.0/16"}], [{"subnet": "fd00:NUMBER::/64"}]]
      }
    }MORE
  ]
}
`)
}
