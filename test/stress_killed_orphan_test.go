package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
)

// TestNextRunWaitsForChildrenOfAKilledRun kills only the program before each of its
// system calls (without STRESS=1 every third), stops its children, and starts the same
// command again. Then the children continue, with a script for the previous state.
func TestNextRunWaitsForChildrenOfAKilledRun(t *testing.T) {
	needKernel(t)
	for _, v := range xtables.Variants {
		for _, change := range killedChanges[:rounds(1, 3)] {
			t.Run(v.String()+"/"+change.name, func(t *testing.T) {
				t.Parallel()
				k := newKilledRun(t, v, v, change.from, change.to)
				n, step := 1, rounds(3, 1)
				for k.orphanedAt(n) {
					n += step
				}
				t.Logf("killed before every %d. call, up to %d", step, n-step)
			})
		}
	}
}

// orphanedAt kills the program at its n-th call, and reports whether it makes that many.
func (k *killedRun) orphanedAt(n int) bool {
	k.t.Helper()
	k.exits(0, k.from...)
	var next nextRun
	tr := &tracer{n: n, victims: programOnly, during: func() { next.start(k) }}
	cmd := exec.Command(built, k.to...)
	cmd.Env = k.env
	if _, _, err := tr.run(k.Path(), cmd); err != nil {
		k.t.Fatal(err)
	}
	if tr.killed == "" {
		return false
	}
	if next.err == nil {
		next.err = <-next.ended
	}
	if next.err != nil {
		k.t.Errorf("killed %s: the next run, begun before its children ended: %v\n%s", tr.killed, next.err, next.said.String())
	}
	if diff := cmp.Diff(k.after.String(), k.see().String()); diff != "" {
		k.t.Errorf("killed %s: after the next run, begun before its children ended (-want +got):\n%s", tr.killed, diff)
	}
	return true
}

// A nextRun is a run that starts while children of the previous one are stopped.
type nextRun struct {
	said  strings.Builder
	ended chan error
	err   error
}

// start starts the run and returns when it has ended or waits for a lock.
func (r *nextRun) start(k *killedRun) {
	cmd := exec.Command(built, append(k.to, "--network-namespace", k.Path())...)
	cmd.Env, cmd.Stdout, cmd.Stderr = k.env, &r.said, &r.said
	r.ended = make(chan error, 1)
	go func() { r.ended <- cmd.Run() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-r.ended:
			r.ended <- err
			return
		case <-ctx.Done():
			r.err = fmt.Errorf("neither ends nor waits for a lock: %w", ctx.Err())
			return
		case <-tick.C: // the kernel has no event for a process that starts to wait for a lock
			if k.waitsForLock() {
				return
			}
		}
	}
}

// waitsForLock reports whether a process in the namespace waits for a lock
// (proc_locks(5): a line with an arrow is a waiting process).
func (k *killedRun) waitsForLock() bool {
	here, err := os.Stat(k.Path())
	if err != nil {
		return false
	}
	locks, _ := os.ReadFile("/proc/locks")
	for line := range strings.Lines(string(locks)) {
		words := strings.Fields(line)
		if len(words) < 6 || words[1] != "->" {
			continue
		}
		if tasks, err := os.ReadDir("/proc/" + words[5] + "/task"); err == nil {
			for _, task := range tasks {
				net, err := os.Stat("/proc/" + words[5] + "/task/" + task.Name() + "/ns/net")
				if err == nil && os.SameFile(net, here) {
					return true
				}
			}
		}
	}
	return false
}
