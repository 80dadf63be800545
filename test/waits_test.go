package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/test/kernel"
)

// TestReaderOfTheLogThatGoesAwayChangesNothing has outputs whose reader has gone before the
// run, and without space.
func TestReaderOfTheLogThatGoesAwayChangesNothing(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			want := newSite(t)
			want.exits(0, in(v, asRedirect)...)
			s := newSite(t)
			r, gone, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			defer gone.Close()
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer full.Close()
			for _, to := range []*os.File{gone, full} {
				for _, step := range []struct {
					args []string
					want string
				}{{in(v, asRedirect), want.state()}, {[]string{cleanCommand}, newSite(t).state()}} {
					s.Do(t, func() error {
						cmd := exec.CommandContext(t.Context(), built, step.args...)
						cmd.Env, cmd.Stdout, cmd.Stderr = s.env, to, to
						if err := cmd.Run(); err != nil {
							t.Errorf("%s %s: %v", to.Name(), step.args, err)
						}
						return nil
					})
					if diff := cmp.Diff(step.want, s.state()); diff != "" {
						t.Errorf("%s %s (-want +got):\n%s", to.Name(), step.args, diff)
					}
				}
			}
		})
	}
}

// TestResolvConfThatIsAFIFOEndsARun waits for a writer until the timeout and until a signal.
func TestResolvConfThatIsAFIFOEndsARun(t *testing.T) {
	t.Parallel()
	kernel.Need(t, "unshare", "mount")
	for end, signal := range map[string]syscall.Signal{"timeout": 0, "term": syscall.SIGTERM, "int": syscall.SIGINT, "hup": syscall.SIGHUP} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			fifo := filepath.Join(t.TempDir(), "resolv.conf")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			const bindAndRun = `mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@"`
			args := append([]string{"--mount", "sh", "-c", bindAndRun, "sh", fifo, built}, asRedirect...)
			args = append(args, "--dry-run", "--redirect-dns", "--ip-family", "ipv4")
			if signal == 0 {
				args = append(args, "--timeout", "1ms")
			}
			cmd := exec.CommandContext(t.Context(), "unshare", args...)
			var log bytes.Buffer
			cmd.Stderr = &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if signal != 0 {
				writer, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the run to open it
				if err != nil {
					t.Fatal(err)
				}
				defer writer.Close()
				_ = cmd.Process.Signal(signal)
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(log.String(), "read /etc/resolv.conf: ") {
				t.Errorf("want exit code 1 and what was waited for, got %v:\n%s", err, log.String())
			}
		})
	}
}

// TestAccountsInAFIFOEndARun waits for names of accounts: the default user of the proxy is one.
func TestAccountsInAFIFOEndARun(t *testing.T) {
	t.Parallel()
	kernel.Need(t, "unshare", "mount")
	fifo := filepath.Join(t.TempDir(), "passwd")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	const bindAndRun = `mount --bind "$1" /etc/passwd && shift && exec "$@"`
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", bindAndRun, "sh", fifo, built, "--dry-run", "--ip-family", "ipv4", "--timeout", "1ms")
	log, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(log), "read the names of accounts and services: context deadline exceeded") {
		t.Errorf("want exit code 1 and what was waited for, got %v:\n%s", err, log)
	}
}
