package test

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// needHAProxy is needKernel for a test that needs HAProxy too.
func needHAProxy(t *testing.T) {
	t.Helper()
	needKernel(t, "haproxy")
}

// startHAProxy runs HAProxy in the pod as a user until the test ends, and returns
// once it listens.
func startHAProxy(t *testing.T, pod *pod.Pod, who flow.Identity, config string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	opened, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Close() }()

	// The user cannot read the directory of the file, so it inherits the open file. It
	// cannot enter the directory of the sources either, to which HAProxy would return.
	cmd := exec.CommandContext(t.Context(), "haproxy", "-db", "-f", "/dev/fd/3")
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{opened}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: who.UID, Gid: who.GID},
		Pdeathsig:  syscall.SIGKILL, // the thread waits for it, so the signal comes when the test binary ends
	}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		ended <- netutil.InNetNS(pod.Pod.Path(), func() error {
			err := cmd.Start()
			started <- err
			if err != nil {
				return err
			}
			return cmd.Wait()
		})
	}()
	if err := <-started; err != nil {
		t.Fatalf("start haproxy: %v", err)
	}
	t.Cleanup(func() {
		<-ended //nolint:errcheck // it was killed, as the context of the test has ended
		if t.Failed() {
			t.Logf("haproxy said:\n%s", &output)
		}
	})
	awaitHAProxy(t, pod, ended)
}

// awaitHAProxy returns when HAProxy accepts connections.
func awaitHAProxy(t *testing.T, pod *pod.Pod, ended chan error) {
	t.Helper()
	deadline := time.After(haproxyTimeout)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for _, port := range []uint16{15001, 15006} {
		for {
			conn, err := pod.Pod.Dial(flow.Identity{}, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-again.C:
			case err := <-ended:
				ended <- err
				t.Fatalf("haproxy ended: %v", err)
			case <-deadline:
				t.Fatalf("haproxy does not listen: %v", err)
			}
		}
	}
}

// applyIn installs the rules of the default command in a pod, in one mode.
func applyIn(t *testing.T, pod *pod.Pod, v xtables.Variant, mode string) {
	t.Helper()
	args := []string{
		applyCommand, "-p", "15001", "-z", "15006", "-u", "1337", "-m", mode, "-i", "*", "-x", "", "-b", "*",
		"-d", "15090,15021,15020", "--dual-stack", "--force-iptables-binary", v.String(),
	}
	if _, stderr, err := pod.RunWith(t, nil, "", programName, args...); err != nil {
		t.Fatalf("%s %s: %v\n%s", programName, strings.Join(args, " "), err, stderr)
	}
}

// restoreIn runs iptables-restore of a variant and a family with a script.
func restoreIn(t *testing.T, pod *pod.Pod, v xtables.Variant, f inet.Family, script string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	name := strings.Replace(xtables.SaveTool(f), "-save", "-"+v.String()+"-restore", 1)
	if _, stderr, err := pod.Run(t.Context(), name, "--noflush", file); err != nil {
		t.Fatalf("%s: %v: %s\n%s", name, err, stderr, script)
	}
}
