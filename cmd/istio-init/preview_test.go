package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestASignalEndsTheWaitForAFIFO opens FIFOs that nobody reads.
func TestASignalEndsTheWaitForAFIFO(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]struct {
		args []string
		env  string
	}{
		"log":     {args: []string{"--log_target", "FIFO"}},
		"dry-run": {env: "DRY_RUN_FILE_PATH"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, signal := context.WithCancel(t.Context())
			signal()
			args := []string{programName, applyCommand, "--dry-run", "--ip-family", "ipv4", "-u", "1337"}
			for _, arg := range run.args {
				args = append(args, strings.Replace(arg, "FIFO", fifo, 1))
			}
			var stdout, stderr strings.Builder
			code := execute(ctx, streams{
				args: args, stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr,
				env: func(name string) (string, bool) { return fifo, name == run.env },
			})
			if want := "open " + fifo + ": context canceled"; code != 1 || !strings.Contains(stderr.String(), want) {
				t.Errorf("exit code %d, want 1 and %q:\n%s", code, want, stderr.String())
			}
			reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0) // lets the open go on
			if err != nil {
				t.Fatal(err)
			}
			_ = reader.Close()
		})
	}
}
