package test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/size"
)

// The ways in which a program hangs. Each leaves the number of the process that
// sleeps in a file.
const (
	hangs = `echo $$ >"$0.sleeps"
		exec sleep 1000`
	childHangs = `sleep 1000 &
		echo $! >"$0.sleeps"
		wait`
)

// TestStressHangingIptablesTimesOut lets each of the started programs hang. The run ends
// within its timeout, nothing is changed, and no process remains.
func TestStressHangingIptablesTimesOut(t *testing.T) {
	needKernel(t)
	for _, v := range xtables.Variants {
		for _, f := range inet.Families {
			for _, what := range []string{"-save", "-restore"} {
				if !size.Stress() && (f == inet.IPv4) == (what == "-restore") {
					continue // the last step of a restore is the worst one
				}
				for name, script := range map[string]string{"itself": hangs, "its-child": childHangs} {
					program := strings.TrimSuffix(tool(v, f), "-restore") + what
					t.Run(program+"/"+name, func(t *testing.T) {
						t.Parallel()
						s := newSite(t)
						s.exits(0, in(v, asRedirect)...)
						want := s.see().String()
						s.wrap(program, script)
						log := s.exits(1, append(in(v, asTProxy), "--timeout", "1s")...)
						if !regexp.MustCompile(`error\t(.*\n)?.*(deadline exceeded|--timeout)`).MatchString(log) {
							t.Errorf("the log does not say that time was over:\n%s", log)
						}
						if diff := cmp.Diff(want, s.see().String()); diff != "" {
							t.Errorf("left changed (-before +after):\n%s\n%s", diff, log)
						}
						s.gone(filepath.Join(s.wrappers, program+".sleeps"))
					})
				}
			}
		}
	}
}

// gone checks that the process whose number is in a file has ended, or was killed.
func (s *site) gone(file string) {
	s.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatalf("the program was not started: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	process, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer unix.Close(process)
	const most = 10_000 // milliseconds
	ended := []unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}
	if n, err := ignoringEINTR(func() (int, error) { return unix.Poll(ended, most) }); n != 1 {
		s.t.Errorf("process %d is left behind (%v)", pid, err)
		_ = unix.PidfdSendSignal(process, unix.SIGKILL, nil, 0)
	}
}

// ignoringEINTR repeats a call that a signal of the runtime has interrupted.
func ignoringEINTR(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// TestStressLockTimeout: another process holds the lock of a run.
func TestStressLockTimeout(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	file, err := os.Open(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	log := s.exits(1, append(in(xtables.NFT, asRedirect), "--timeout", "1s")...)
	if !strings.Contains(log, "another run works on it") {
		t.Errorf("the log does not name another run:\n%s", log)
	}
}
