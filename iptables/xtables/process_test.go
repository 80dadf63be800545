package xtables

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func shell(script string) *process {
	return &process{path: "/bin/sh", args: []string{"-c", script}, env: []string{"ONLY=this"}}
}

func TestRunAllPassesInputAndOutput(t *testing.T) {
	t.Parallel()
	talks, fails, missing := shell(`cat; echo to stderr >&2`), shell("exit 3"), &process{path: "/no/such/program"}
	talks.stdin = "from stdin"
	environment := shell("set | grep -c ONLY; echo ${HOME-none}")
	runAll(t.Context(), []*process{talks, fails, missing, environment})
	if talks.err != nil || string(talks.stdout) != "from stdin" || talks.stderrText() != "to stderr" {
		t.Errorf("want its input and its words, got %q, %q, %v", talks.stdout, talks.stderrText(), talks.err)
	}
	if fails.err == nil || fails.err.Error() != "exit status 3" {
		t.Errorf("want exit status 3, got %v", fails.err)
	}
	if !errors.Is(missing.err, fs.ErrNotExist) {
		t.Errorf("want that the program is missing, got %v", missing.err)
	}
	if got := string(environment.stdout); got != "1\nnone\n" {
		t.Errorf("want an environment of its own, got %q", got)
	}
}

// TestRunAllWithUnreadInput has more input and output than a pipe holds, and a
// program that reads nothing.
func TestRunAllWithUnreadInput(t *testing.T) {
	t.Parallel()
	much := strings.Repeat("0123456789abcde\n", 1<<15)
	echoes, deaf := shell("tee /dev/stderr"), shell("exit 0")
	echoes.stdin, deaf.stdin = much, much
	quiet := shell("cat; echo to stderr >&2")
	quiet.stdin, quiet.mute = "from stdin\n", true
	runAll(t.Context(), []*process{echoes, deaf, quiet})
	for _, p := range []*process{echoes, deaf, quiet} {
		if p.err != nil {
			t.Errorf("%s: %v", p.args, p.err)
		}
	}
	if string(echoes.stdout) != much {
		t.Errorf("want %d bytes, got %d", len(much), len(echoes.stdout))
	}
	if len(quiet.stdout) > 0 || quiet.stderrText() != "from stdin to stderr" {
		t.Errorf("want all of what a mute one says among its complaints, got %q and %q", quiet.stdout, quiet.stderr)
	}
}

// TestRunAllEndsAProgramThatPrintsTooMuch has programs that print without an end, or 100 MB.
func TestRunAllEndsAProgramThatPrintsTooMuch(t *testing.T) {
	t.Parallel()
	const limited = `while [ "$(ulimit -f)" = unlimited ]; do :; done; ` // a child of it inherits the limit
	tests := []struct {
		name string
		p    *process
	}{
		{"endless", &process{path: "/usr/bin/yes"}},
		{"endless-stderr", shell("exec yes >&2")},
		{"endless-child", shell(limited + "yes; exit 0")},
		{"endless-mute", &process{path: "/usr/bin/yes", mute: true}},
		{"100-megabytes", shell(limited + "head -c 100000000 /dev/zero; exit 0")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			runAll(t.Context(), []*process{tt.p})
			if tt.p.err == nil || tt.p.err.Error() != "printed 64 MB or more" {
				t.Errorf("want that it printed too much, got %v", tt.p.err)
			}
		})
	}
}

// TestComplaintsAreReadAtBothEnds has more of them than are read.
func TestComplaintsAreReadAtBothEnds(t *testing.T) {
	t.Parallel()
	p := shell("echo first >&2; head -c 1000000 /dev/zero | tr '\\0' x >&2; echo line 7 failed >&2; exit 1")
	runAll(t.Context(), []*process{p})
	text := p.stderrText()
	if !strings.HasPrefix(text, "first x") || !strings.HasSuffix(text, "xline 7 failed") || len(text) > 9000 {
		t.Errorf("got %d bytes, %.20q ... %q", len(text), text, text[max(0, len(text)-20):])
	}
}

func TestRunAllIsParallel(t *testing.T) {
	t.Parallel()
	// Each waits for the other through a pipe in the file system: one after
	// the other they would never end.
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	one := shell("mkfifo " + dir + "/a 2>/dev/null; echo one > " + dir + "/a")
	two := shell("mkfifo " + dir + "/a 2>/dev/null; cat " + dir + "/a")
	runAll(ctx, []*process{one, two})
	if one.err != nil || two.err != nil || string(two.stdout) != "one\n" {
		t.Errorf("want one to hear the other, got %v, %v, %q", one.err, two.err, two.stdout)
	}
}

func TestRunAllEndsWithItsContext(t *testing.T) {
	t.Parallel()
	// Long enough for the quick one on a busy machine.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	slow, quick := &process{path: "/bin/sleep", args: []string{"60"}}, shell("exit 0")
	start := time.Now()
	runAll(ctx, []*process{slow, quick})
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	if !errors.Is(slow.err, context.DeadlineExceeded) {
		t.Errorf("want that the time was over, got %v", slow.err)
	}
	if quick.err != nil {
		t.Errorf("want the quick one to be done, got %v", quick.err)
	}
}

// TestRunAllKillsTheProcessGroup has a program that waits for another.
func TestRunAllKillsTheProcessGroup(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fifo := filepath.Join(t.TempDir(), "started")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // the child of the child holds the pipe until it is killed
		file, err := os.Open(fifo)
		if err == nil {
			cancel()
			_, err = file.Read(make([]byte, 1))
		}
		ended <- err
	}()
	p := shell("sleep 60 >" + fifo + " & wait")
	runAll(ctx, []*process{p})
	if !errors.Is(p.err, context.Canceled) || !strings.Contains(p.err.Error(), "signal: killed") {
		t.Errorf("want that it was killed, since the run was cancelled, got %v", p.err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("want the pipe closed without a word")
		}
	case <-time.After(30 * time.Second):
		t.Error("the child of the child still runs")
	}
}

// TestRunAllKillsNoGroupOfAReapedLeader runs a program that leaves a child in its process
// group, and ends the context after the program has exited. The child represents an unrelated
// process: the kernel may give the number to another group.
func TestRunAllKillsNoGroupOfAReapedLeader(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ask, answer := fifo(t), fifo(t)
	p := shell("{ read word; echo $word; } <" + ask.Name() + " >" + answer.Name() + " &")
	runAll(ctx, []*process{p}) // does not wait for what the program leaves behind
	cancel()
	if runAll(t.Context(), []*process{shell("exit 0")}); p.err != nil { // takes longer than a signal
		t.Fatal(p.err)
	}
	if _, err := ask.WriteString("alive\n"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len("alive\n"))
	if _, err := io.ReadFull(answer, got); err != nil {
		t.Errorf("what was left behind says nothing: %v", err)
	}
}

// fifo makes a named pipe on which nobody waits for another to open it.
func fifo(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if err := file.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestProcessInheritsFiles and no other.
func TestProcessInheritsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var files [2]*os.File
	for i, name := range []string{"given", "kept"} {
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files[i] = file
	}
	p := shell("for fd in /proc/$$/fd/*; do echo ${fd##*/} $(readlink $fd); done")
	p.env, p.files = []string{"PATH=/usr/bin:/bin"}, files[:1]
	runAll(t.Context(), []*process{p})
	if text := string(p.stdout); p.err != nil || !strings.Contains(text, "\n3 "+files[0].Name()+"\n") || strings.Contains(text, files[1].Name()) {
		t.Errorf("want %s as its file 3 and not %s, got %v\n%s", files[0].Name(), files[1].Name(), p.err, text)
	}
}
