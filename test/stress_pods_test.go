package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// manyPods is the number of pods that start on a node at once.
const manyPods = 50

// commonLock is the file that all users of iptables-legacy lock by default.
const commonLock = "/run/xtables.lock"

// A node sets up pods. Its common lock file is held by another process.
type node struct {
	t        testing.TB
	lockFile string
	program  string // ours
}

// newNode returns a node whose lock is held until the test ends.
func newNode(t testing.TB) *node {
	t.Helper()
	common, err := os.OpenFile(commonLock, os.O_CREATE, 0o600) // the mount point
	if err != nil {
		t.Fatal(err)
	}
	common.Close()
	n := &node{t: t, lockFile: filepath.Join(t.TempDir(), "xtables.lock"), program: programName}
	file, err := os.Create(n.lockFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	return n
}

// command prepares a run of a program on the node.
func (n *node) command(program string, args ...string) *exec.Cmd {
	n.t.Helper()
	program, err := exec.LookPath(program)
	if err != nil {
		n.t.Fatal(err)
	}
	const mountAndRun = `mount --bind "$1" ` + commonLock + ` && shift && exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", mountAndRun, "sh", n.lockFile, program}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// setUp sets pods up, with at most that many concurrent runs; all have to succeed.
func (n *node) setUp(pods []*kernel.NetNS, atOnce int, line ...string) {
	n.t.Helper()
	n.forEach(pods, atOnce, func(pod *kernel.NetNS) *exec.Cmd {
		return n.command(n.program, append(slices.Clone(line), "--cni-mode", "--network-namespace", pod.Path())...)
	})
}

// forEach runs a program for each pod, with at most that many concurrent runs; all have
// to succeed.
func (n *node) forEach(pods []*kernel.NetNS, atOnce int, command func(*kernel.NetNS) *exec.Cmd) {
	n.t.Helper()
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, pod := range pods {
		cmd := command(pod)
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if out, err := cmd.CombinedOutput(); err != nil {
				n.t.Errorf("pod %d: %v\n%s", i, err, out)
			}
		})
	}
	all.Wait()
}

func newPods(t *testing.T, n int) []*kernel.NetNS {
	t.Helper()
	pods := make([]*kernel.NetNS, n)
	for i := range pods {
		pods[i] = kernel.NewNetNS(t)
	}
	return pods
}

// TestConcurrentPodsDoNotWaitForTheNodeLock starts concurrent runs for many pods from the
// node, while another process holds the lock of the node.
func TestConcurrentPodsDoNotWaitForTheNodeLock(t *testing.T) {
	needKernel(t)
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) {
			node, pods := newNode(t), newPods(t, rounds(manyPods/5, manyPods))
			reference := newSite(t)
			reference.exits(0, in(b, asRedirect)...)
			node.setUp(pods, len(pods), in(b, asRedirect)...)
			for i, pod := range pods {
				for _, f := range inet.Families {
					if diff := cmp.Diff(reference.saved(b, f), savedIn(t, pod.Path(), b, f)); diff != "" {
						t.Errorf("pod %d, %s (-want +got):\n%s", i, f, diff)
					}
				}
			}
		})
	}
}

// TestBusyNodeLockIsNamed is the same without --cni-mode: a run waits for the lock, until
// its timeout.
func TestBusyNodeLockIsNamed(t *testing.T) {
	needKernel(t)
	t.Parallel()
	node, pod := newNode(t), kernel.NewNetNS(t)
	line := append(in(xtables.Legacy, asRedirect), "--network-namespace", pod.Path(), "--timeout", "2s")
	out, err := node.command(node.program, line...).CombinedOutput()
	if err == nil {
		t.Fatalf("succeeded without the lock:\n%s", out)
	}
	if !regexp.MustCompile(`error\t.*(?i:xtables).*lock`).Match(out) {
		t.Errorf("the error does not name the lock:\n%s", out)
	}
	for _, f := range inet.Families {
		if held := heldText(pod.Save(t, xtables.Legacy, f)); held != "" {
			t.Errorf("%s rules are there:\n%s", f, held)
		}
	}
	// --cni-mode has its own lock.
	node.setUp([]*kernel.NetNS{pod}, 1, line...)
}
