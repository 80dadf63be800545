package iptables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is one run of a program, without a shell and with nothing inherited.
type process struct {
	path  string
	args  []string
	env   []string
	stdin string
	mute  bool      // what it prints on stdout is of no use
	caps  []uintptr // to have, though not root
	// files are the child's files from 3 on.
	files []*os.File

	stdout, stderr []byte
	err            error

	pid          int
	in, out, say *os.File // our ends of its first three files; nil: it has none
}

// An exitError says that a program failed.
type exitError struct{ syscall.WaitStatus }

func (e exitError) Error() string {
	if e.Signaled() {
		return "signal: " + e.Signal().String()
	}
	return fmt.Sprintf("exit status %d", e.ExitStatus())
}

// stderrText is what the program complained of, on one line.
func (p *process) stderrText() string {
	return strings.Join(strings.Fields(string(p.stderr)), " ")
}

// runAll runs programs at the same time and waits for all. They are started one
// after the other on the calling thread, so they inherit its network namespace.
func runAll(ctx context.Context, processes []*process) {
	var done sync.WaitGroup
	for i, p := range processes {
		if p.err = ctx.Err(); p.err == nil {
			p.err = p.start()
		}
		// Waiting needs no namespace. Each is waited for by itself, so that one
		// that has ended in time is not taken for one that has not; the last one
		// by us, as the only one mostly is.
		if i < len(processes)-1 && p.err == nil {
			done.Go(func() { p.wait(ctx) })
		}
	}
	if last := len(processes) - 1; last >= 0 && processes[last].err == nil {
		processes[last].wait(ctx)
	}
	done.Wait()
}

// start starts the program. It does without os/exec, which starts a process more to
// see what the kernel can do, and a goroutine for each file: together a seventh of
// the processor time of a run.
func (p *process) start() (err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	theirs := []*os.File{null, null, null}
	defer func() {
		closeAll(theirs...) // null more than once, which does no harm
		if err != nil {
			closeAll(p.in, p.out, p.say)
		}
	}()
	if p.stdin != "" {
		if theirs[0], p.in, err = os.Pipe(); err != nil {
			return err
		}
	}
	if !p.mute {
		if p.out, theirs[1], err = os.Pipe(); err != nil {
			return err
		}
	}
	if p.say, theirs[2], err = os.Pipe(); err != nil {
		return err
	}
	var files []uintptr
	for _, file := range slices.Concat(theirs, p.files) {
		files = append(files, file.Fd())
	}
	p.pid, err = syscall.ForkExec(p.path, slices.Concat([]string{p.path}, p.args), &syscall.ProcAttr{
		Env: p.env, Files: files,
		// A group of its own, so that what the program has started ends with it.
		Sys: &syscall.SysProcAttr{AmbientCaps: p.caps, Setpgid: true},
	})
	if err != nil {
		return &os.PathError{Op: "start", Path: p.path, Err: err}
	}
	return nil
}

// wait gives the program its input, takes what it prints and waits for its end, or
// ends it with the context. It takes all of one output before the next, which is
// right for programs that complain of little.
func (p *process) wait(ctx context.Context) {
	defer closeAll(p.out, p.say)
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // it may have ended just before
		soon := time.Now().Add(time.Second)       // for a grandchild that keeps the files open
		for _, file := range []*os.File{p.in, p.out, p.say} {
			if file != nil {
				_ = file.SetDeadline(soon)
			}
		}
	})
	var errs [3]error
	if p.in != nil {
		_, errs[0] = io.WriteString(p.in, p.stdin)
		_ = p.in.Close()
	}
	if p.out != nil {
		p.stdout, errs[1] = io.ReadAll(p.out)
	}
	p.stderr, errs[2] = io.ReadAll(p.say)
	p.awaitEnd()
	if !stop() {
		<-killed // its number is free for others once it is reaped
	}
	if p.err = p.reap(); p.err == nil {
		p.err = errors.Join(errs[:]...)
	}
	if p.err != nil && ctx.Err() != nil {
		p.err = fmt.Errorf("%w (%w)", ctx.Err(), p.err)
	}
}

// awaitEnd waits until the program has ended and leaves it to be reaped.
func (p *process) awaitEnd() {
	const byPID = 1 // waitid(2), P_PID
	for errno := syscall.EINTR; errno == syscall.EINTR; {
		_, _, errno = syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(p.pid), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
	}
}

// reap returns how the program ended.
func (p *process) reap() error {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.pid, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for %s: %w", p.path, err)
		case status.Exited() && status.ExitStatus() == 0:
			return nil
		default:
			return exitError{status}
		}
	}
}

func closeAll(files ...*os.File) {
	for _, file := range files {
		if file != nil {
			_ = file.Close()
		}
	}
}

// A RestoreError says that the kernel or iptables refused a script. Nothing of
// the table that the line belongs to was changed.
type RestoreError struct {
	Family  Family
	Variant Variant
	Line    int    // in the script, from 1; 0 when iptables did not tell
	Text    string // of that line
	Stderr  string // what iptables said, on one line
	Err     error  // how the program ended
	// Needs are the modules of the kernel that the line needs; where nothing
	// else is wrong, one of them is missing.
	Needs []string
}

func (e *RestoreError) Error() string {
	where := ""
	if e.Line > 0 {
		where = fmt.Sprintf("line %d %q: ", e.Line, e.Text)
	}
	text := fmt.Sprintf("restore rules (%s, %s): %s%v: %s", e.Family, e.Variant, where, e.Err, e.Stderr)
	if len(e.Needs) > 0 {
		text += "; needs of the kernel: " + strings.Join(e.Needs, ", ")
	}
	return text
}

// Unwrap returns how the program ended.
func (e *RestoreError) Unwrap() error { return e.Err }

// refusedLine finds the number in what iptables-restore says of a line. Seen of
// 1.8.9: "iptables-restore: line 12 failed", "Error occurred at line: 8", and
// of the nft variant "line 4: RULE_APPEND failed (No such file or directory)".
// The table's COMMIT is named when the kernel refused the table as a whole.
var refusedLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bline:? (\d+)`) })

// newRestoreError explains why a restore process failed.
func newRestoreError(f Family, v Variant, p *process) *RestoreError {
	e := &RestoreError{Family: f, Variant: v, Stderr: p.stderrText(), Err: p.err}
	if m := refusedLine().FindStringSubmatch(e.Stderr); m != nil {
		lines := strings.Split(p.stdin, "\n")
		if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && n <= len(lines) {
			e.Line, e.Text = n, lines[n-1]
			e.Needs = needs(f, v, p.stdin, n)
		}
	}
	return e
}
