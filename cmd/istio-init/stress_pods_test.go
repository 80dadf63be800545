package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/iptables/iptablestest"
)

// manyPods is how many pods begin on a node at once.
const manyPods = 50

// commonLock is the file that all users of iptables-legacy lock by default.
const commonLock = "/run/xtables.lock"

// A node is where pods are set up from: a common lock file of its own, which
// somebody holds.
type node struct {
	t        testing.TB
	lockFile string
}

// newNode makes a node whose lock is held until the test ends.
func newNode(t testing.TB) *node {
	t.Helper()
	common, err := os.OpenFile(commonLock, os.O_CREATE, 0o600) // to have a place to mount on
	if err != nil {
		t.Fatal(err)
	}
	common.Close()
	n := &node{t: t, lockFile: filepath.Join(t.TempDir(), "xtables.lock")}
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

// command prepares a run of the program on the node.
func (n *node) command(args ...string) *exec.Cmd {
	n.t.Helper()
	program, err := exec.LookPath(programName)
	if err != nil {
		n.t.Fatal(err)
	}
	const mountAndRun = `mount --bind "$1" ` + commonLock + ` && shift && exec "$@"`
	cmd := exec.Command("/bin/sh", append([]string{"-c", mountAndRun, "sh", n.lockFile, program}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// setUp sets pods up, at most so many at a time; all have to succeed.
func (n *node) setUp(pods []*iptablestest.NetNS, atOnce int, line ...string) {
	n.t.Helper()
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, pod := range pods {
		cmd := n.command(append(slices.Clone(line), "--cni-mode", "--network-namespace", pod.Path())...)
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

func newPods(t testing.TB, n int) []*iptablestest.NetNS {
	pods := make([]*iptablestest.NetNS, n)
	for i := range pods {
		pods[i] = iptablestest.NewNetNS(t)
	}
	return pods
}

// TestPodsAreSetUpAtOnceWithoutTheLockOfTheNode starts a run for each of many pods
// at the same time, from outside, while somebody holds the lock of the node.
func TestPodsAreSetUpAtOnceWithoutTheLockOfTheNode(t *testing.T) {
	needKernel(t)
	for _, v := range iptables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			node, pods := newNode(t), newPods(t, rounds(manyPods/5, manyPods))
			reference := newSite(t)
			reference.exits(0, in(v, asRedirect)...)
			node.setUp(pods, len(pods), in(v, asRedirect)...)
			for i, pod := range pods {
				for _, f := range iptables.Families {
					if diff := cmp.Diff(reference.Save(t, v, f), pod.Save(t, v, f)); diff != "" {
						t.Errorf("pod %d, %s (-want +got):\n%s", i, f, diff)
					}
				}
			}
		})
	}
}

// TestTheLockOfTheNodeIsNamedWhenItCannotBeHad is the same without --cni-mode: the
// lock is waited for, in bounded time.
func TestTheLockOfTheNodeIsNamedWhenItCannotBeHadByPods(t *testing.T) {
	needKernel(t)
	t.Parallel()
	node, pod := newNode(t), iptablestest.NewNetNS(t)
	line := append(in(iptables.Legacy, asRedirect), "--network-namespace", pod.Path(), "--timeout", "2s")
	out, err := node.command(line...).CombinedOutput()
	if err == nil {
		t.Fatalf("succeeded without the lock:\n%s", out)
	}
	if !regexp.MustCompile(`error\t.*(?i:xtables).*lock`).Match(out) {
		t.Errorf("the error does not name the lock:\n%s", out)
	}
	for _, f := range iptables.Families {
		if held := heldText(pod.Save(t, iptables.Legacy, f)); held != "" {
			t.Errorf("%s rules are there:\n%s", f, held)
		}
	}
	// --cni-mode has a lock of its own.
	node.setUp([]*iptablestest.NetNS{pod}, 1, line...)
}

// BenchmarkPods compares pods that are set up at once with pods that are set up one
// after the other: "times-quicker" is how much sooner they are done.
func BenchmarkPods(b *testing.B) {
	iptablestest.Require(b)
	for _, v := range iptables.Variants {
		b.Run(v.String(), func(b *testing.B) {
			node, pods := newNode(b), newPods(b, manyPods)
			var took [2]time.Duration
			for b.Loop() {
				for i, atOnce := range []int{1, len(pods)} {
					node.setUp(pods, len(pods), cleanCommand)
					began := time.Now()
					node.setUp(pods, atOnce, in(v, asRedirect)...)
					took[i] += time.Since(began)
				}
			}
			b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "times-quicker")
		})
	}
}
