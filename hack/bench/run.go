package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"istio-init/netutil"
)

// A command is one run of a program.
type command struct {
	path  string
	args  []string
	stdin string // a file; "": nothing is read
	env   []string
}

// A step is commands that are started at the same time.
type step []command

// A cost is what steps took: the time until their last program ended, and the CPU time of
// all their processes, in milliseconds.
type cost struct{ wall, cpu float64 }

// A namespace is a network namespace that is open.
type namespace struct{ handle netns.NsHandle }

// newNamespace makes a namespace in which lo is up.
func newNamespace() (*namespace, error) {
	made, ns := make(chan error), &namespace{}
	go func() {
		runtime.LockOSThread() // the thread ends with its goroutine
		var err error
		if ns.handle, err = netns.New(); err == nil {
			err = linkUp("lo")
		}
		made <- err
	}()
	return ns, <-made
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func (ns *namespace) close() { _ = ns.handle.Close() }

// path returns the file of the namespace, also for programs that root starts.
func (ns *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(ns.handle)) }

// environment is that of the image.
func (b *bench) environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin", "XTABLES_LOCKFILE=" + filepath.Join(b.dir, "lock")}
}

// start starts commands in a namespace.
func (b *bench) start(ns *namespace, s step) (running []*exec.Cmd, began time.Time, err error) {
	for _, c := range s {
		cmd := exec.Command(c.path, c.args...)
		cmd.Env, cmd.Stderr = append(b.environment(), c.env...), b.log.stderr
		if c.stdin != "" {
			file, err := os.Open(c.stdin)
			if err != nil {
				return nil, began, err
			}
			defer file.Close()
			cmd.Stdin = file
		}
		running = append(running, cmd)
	}
	err = netutil.InNetNS(ns.path(), func() error {
		began = time.Now()
		for _, cmd := range running {
			if err := cmd.Start(); err != nil {
				return err
			}
		}
		return nil
	})
	return running, began, err
}

// wait waits for commands, which have to succeed, and returns their CPU time.
func (b *bench) wait(running []*exec.Cmd) (cpu float64, err error) {
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			text, _ := b.log.last()
			return cpu, fmt.Errorf("%.300s: %w\n%s", cmd, err, text)
		}
		cpu += milliseconds(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime())
	}
	return cpu, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// run runs steps one after the other and returns what they cost.
func (b *bench) run(ns *namespace, steps []step) (sum cost, err error) {
	for _, s := range steps {
		running, began, err := b.start(ns, s)
		if err != nil {
			return sum, err
		}
		cpu, err := b.wait(running)
		if err != nil {
			return sum, err
		}
		sum.cpu += cpu
		sum.wall += milliseconds(time.Since(began))
	}
	return sum, nil
}

// peak returns the resident memory of the largest process of a command, in MB. Linux counts
// the memory of who starts a program for it, so a small program does.
func (b *bench) peak(ns *namespace, c command) (mb float64, err error) {
	var out bytes.Buffer
	err = netutil.InNetNS(ns.path(), func() error {
		cmd := exec.Command(b.small, append([]string{c.path}, c.args...)...)
		cmd.Env, cmd.Stdout = b.environment(), &out
		return cmd.Run()
	})
	kb, _ := strconv.Atoi(strings.TrimSpace(out.String()))
	return float64(kb) / 1000, err
}

// Counts are what a run asks of the kernel.
type counts struct {
	Programs int `json:"programs"` // beside itself
	Calls    int `json:"calls"`    // system calls of all of them
	Bytes    int `json:"bytes"`    // that these have read, written, sent and received
	Changes  int `json:"changes"`  // transactions of nf_tables
}

var (
	tracedCall = regexp.MustCompile(`^\d+ +(\w+)\(`)
	tracedEnd  = regexp.MustCompile(`^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>).* = (\d+)$`)
	moves      = regexp.MustCompile(`^(p?read|p?write)(64|v)?$|^(recv|send)(from|to|msg)$`)
)

// count runs a command under strace(1).
func (b *bench) count(ns *namespace, c command) (n counts, err error) {
	file := filepath.Join(b.dir, "trace")
	err = netutil.InNetNS(ns.path(), func() error {
		cmd := exec.Command("strace", append([]string{"-f", "-qq", "-e", "signal=none", "-o", file, c.path}, c.args...)...)
		cmd.Env = b.environment()
		return cmd.Run()
	})
	if err != nil {
		return n, fmt.Errorf("strace %s: %w", c.path, err)
	}
	text, err := os.ReadFile(file)
	n.Programs = -1 // itself
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if tracedCall.MatchString(line) {
			n.Calls++
		}
		if strings.Contains(line, "NFNL_MSG_BATCH_BEGIN") {
			n.Changes++
		}
		end := tracedEnd.FindStringSubmatch(line)
		switch {
		case end == nil:
		case end[1] == "execve":
			n.Programs++
		case moves.MatchString(end[1]):
			size, _ := strconv.Atoi(end[2])
			n.Bytes += size
		}
	}
	return n, err
}
