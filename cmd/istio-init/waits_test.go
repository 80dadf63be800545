package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"istio-init/cmd/istio-init/options"
	"istio-init/test/kernel"
)

// blocked are places that can be a FIFO or a pipe at whose other end nobody is.
var blocked = []struct {
	name string
	args []string
	env  string // a variable that is the FIFO
	says string
}{
	{"log", []string{"apply", "--dry-run", "--log_target", "FIFO"}, "", "open FIFO: "},
	{"dry-run", []string{"apply", "--dry-run"}, "DRY_RUN_FILE_PATH", "write FIFO: "},
	{"config", []string{"apply", "--dry-run", "--config", "FIFO"}, "", "read FIFO: "},
	{"config-of-stdin", []string{"apply", "--dry-run", "--config", "-"}, "", "read stdin: "},
	{"rules", []string{"check", "--rules", "FIFO"}, "", "read FIFO: "},
	{"rules-of-stdin", []string{"trace", "--to", "10.0.0.1:80", "--rules", "-"}, "", "read standard input: "},
	{"namespace", []string{"check", "--network-namespace", "FIFO"}, "", "FIFO: it is not the file of a network namespace"},
}

// TestEveryWaitEnds has FIFOs that nobody opens, and a stdin without an end.
func TestEveryWaitEnds(t *testing.T) {
	t.Parallel()
	for _, place := range blocked {
		for _, end := range []string{"signal", "timeout"} {
			t.Run(place.name+"/"+end, func(t *testing.T) {
				t.Parallel()
				fifo := filepath.Join(t.TempDir(), "fifo")
				if err := syscall.Mkfifo(fifo, 0o600); err != nil {
					t.Fatal(err)
				}
				stdin, writer := io.Pipe()
				defer writer.Close()
				ctx, signal := context.WithCancel(t.Context())
				defer signal()
				args := append(slices.Clone(place.args), "--ip-family", "ipv4", "-u", "1337")
				if end == "timeout" {
					args = append(args, "--timeout", "1ms")
				} else {
					signal()
				}
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "FIFO", fifo)
				}
				var stdout, stderr strings.Builder
				code := execute(ctx, streams{
					args: append([]string{programName}, args...), stdin: stdin, stdout: &stdout, stderr: &stderr,
					env: func(name string) (string, bool) { return fifo, name == place.env },
				})
				if want := strings.ReplaceAll(place.says, "FIFO", fifo); code == 0 || !strings.Contains(stderr.String(), want) {
					t.Errorf("exit code %d, want an error and %q:\n%s", code, want, stderr.String())
				}
				for _, flag := range []int{os.O_RDONLY, os.O_WRONLY} { // lets an open go on
					if other, err := os.OpenFile(fifo, flag|syscall.O_NONBLOCK, 0); err == nil {
						_ = other.Close()
					}
				}
			})
		}
	}
}

// TestConfigThatIsNotReadIsOneProblem has names of accounts to look up when time is over.
func TestConfigThatIsNotReadIsOneProblem(t *testing.T) {
	t.Parallel()
	stdin, writer := io.Pipe()
	defer writer.Close()
	var stdout, stderr strings.Builder
	execute(t.Context(), streams{
		args:  []string{programName, "apply", "--dry-run", "--config", "-", "--timeout", "1ms", "--proxy-uid", "root"},
		stdin: stdin, stdout: &stdout, stderr: &stderr, env: func(string) (string, bool) { return "", false },
	})
	if got := stderr.String(); !strings.Contains(got, "read stdin: ") || strings.Contains(got, "accounts") {
		t.Errorf("want an error of the file alone:\n%s", got)
	}
}

// TestAnActionThatComputesEndsInTime never sees the end of its context.
func TestAnActionThatComputesEndsInTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		timeout   time.Duration
		answering bool
		signal    bool
		want      error
	}{
		"timeout":          {timeout: time.Millisecond, want: context.DeadlineExceeded},
		"signal":           {timeout: time.Hour, signal: true, want: context.Canceled},
		"signal-in-answer": {timeout: time.Millisecond, answering: true, signal: true, want: context.DeadlineExceeded},
		"slow-reader":      {timeout: time.Millisecond, answering: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, signal := context.WithCancel(t.Context())
			defer signal()
			if tt.signal {
				signal()
			}
			goesOn := make(chan struct{})
			cmd := &command{opts: &options.Run{Timeout: tt.timeout}, answering: func() bool { return tt.answering }}
			err := cmd.ask(ctx, func(ctx context.Context) error {
				if tt.want == nil { // the reader takes longer than the timeout
					<-ctx.Done()
					return nil
				}
				<-goesOn
				return nil
			})
			close(goesOn)
			if !errors.Is(err, tt.want) && !errors.Is(err, context.Canceled) {
				t.Errorf("want %v, got %v", tt.want, err)
			}
			if tt.want == nil && err != nil {
				t.Errorf("want no error, got %v", err)
			}
		})
	}
}

// TestEveryAnswerThatIsNotWrittenIsAnError writes to a full disk and to a pipe whose reader has gone.
func TestEveryAnswerThatIsNotWrittenIsAnError(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"--help", "apply --help", "help trace", "--version", "version", "config-schema",
		"completion bash", "completion zsh", "completion fish", "completion powershell", "__complete tr", "__completeNoDesc tr",
		"apply --dry-run", "apply --print-config", "apply --print-config=json", "check --rules RULES", "check --rules RULES --output json", "check -i * --rules RULES",
		"trace --to 10.0.0.1:80 --rules RULES", "trace --to 10.0.0.1:80 --rules RULES --output json",
		"explain --rules RULES", "explain --output tree -i *", "explain --output json -i *", "explain --output dot -i *", "explain --output mermaid -i *", "explain --output table -i *",
	} {
		for _, place := range []string{"full", "closed-pipe"} {
			t.Run(strings.ReplaceAll(line, " ", "-")+"/"+place, func(t *testing.T) {
				t.Parallel()
				stdout := noSpace(t)
				if place == "closed-pipe" {
					stdout = noReader(t)
				}
				args := append([]string{programName}, strings.Fields(strings.ReplaceAll(line, "RULES", rules))...)
				if c := args[1]; c == "apply" || c == "check" || c == "explain" {
					args = append(args, "--ip-family", "ipv4", "-u", "1337")
				}
				var stderr strings.Builder
				code := execute(t.Context(), streams{args: args, stdin: strings.NewReader(""), stdout: stdout, stderr: &stderr, env: func(string) (string, bool) { return "", false }})
				said := strings.Contains(stderr.String(), "write stdout: ")
				if code == 0 || said != (place == "full") {
					t.Errorf("exit code %d, want an error, and a message for a full disk alone, got:\n%s", code, stderr.String())
				}
			})
		}
	}
}

// TestALogThatIsNotWrittenIsNoError has places of the log on a full disk, without a reader, and
// with one that does not read.
func TestALogThatIsNotWrittenIsNoError(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]func(*testing.T) *os.File{"full": noSpace, "closed-pipe": noReader, "pipe-that-is-not-read": notRead} {
		for _, target := range []string{"stdout", "stderr"} {
			t.Run(name+"/"+target, func(t *testing.T) {
				t.Parallel()
				to := place(t)
				code := execute(t.Context(), streams{
					args:  []string{programName, "--skip-rule-apply", "-u", "1337", "--log_target", target, "--timeout", "1ms"},
					stdin: strings.NewReader(""), stdout: to, stderr: to, env: func(string) (string, bool) { return "", false },
				})
				if code != 0 {
					t.Errorf("exit code %d, want 0", code)
				}
			})
		}
	}
}

func noSpace(t *testing.T) *os.File {
	t.Helper()
	file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		if kernel.Required() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func noReader(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// notRead is a pipe that is full.
func notRead(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	conn, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Write(func(fd uintptr) bool {
		for err == nil {
			_, err = syscall.Write(int(fd), make([]byte, 1<<12))
		}
		return true
	})
	return w
}
