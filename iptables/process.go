package iptables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process is one run of a program, without a shell and with nothing inherited.
type process struct {
	path  string
	args  []string
	env   []string
	stdin string
	mute  bool      // what it prints on stdout is no answer, and goes with its complaints
	caps  []uintptr // to have, though not root
	// files are the child's files from 3 on.
	files []*os.File

	stdout, stderr []byte
	err            error

	pid      int
	out, say *os.File    // its stdout and stderr
	spare    func() bool // keeps the end of the context from killing it; false: it is too late
	killed   chan struct{}
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
// after the other on the calling thread, so they inherit its network namespace. The
// end of the context kills those that have not ended.
func runAll(ctx context.Context, processes []*process) { runAllWhile(ctx, processes, nil) }

// runAllWhile calls meanwhile, if there is any, once all programs run.
func runAllWhile(ctx context.Context, processes []*process, meanwhile func()) {
	for _, p := range processes {
		if p.err = context.Cause(ctx); p.err == nil {
			p.err = p.start(ctx)
		}
	}
	if meanwhile != nil {
		meanwhile()
	}
	for _, p := range processes {
		if p.err == nil {
			p.wait(ctx)
		}
	}
}

// start starts the program. Its first three files are in memory, not pipes: it never
// waits for us, nor we for what it has started, and it has all of its input also when
// we are killed. It does without os/exec, which starts a process more to see what the
// kernel can do, and watches the context in a goroutine: 3 to 4 % of the processor
// time of an apply.
func (p *process) start(ctx context.Context) (err error) {
	in, err := memoryFile("stdin")
	if err != nil {
		return err
	}
	defer in.Close()
	defer func() {
		if err != nil {
			closeAll(p.out, p.say)
		}
	}()
	if _, err := in.WriteAt([]byte(p.stdin), 0); err != nil { // its place stays at the beginning
		return err
	}
	if p.say, err = memoryFile("stderr"); err != nil {
		return err
	}
	if p.mute {
		p.out = p.say
	} else if p.out, err = memoryFile("stdout"); err != nil {
		return err
	}
	files := []uintptr{in.Fd(), p.out.Fd(), p.say.Fd()}
	for _, file := range p.files {
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
	p.killed = make(chan struct{})
	p.spare = context.AfterFunc(ctx, func() {
		defer close(p.killed)
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // it may have ended just before
	})
	return nil
}

// memoryFile makes a file that has no path and that ends with who has it open.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, which may insist on the seal
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// wait waits for the end of the program and takes what it printed.
func (p *process) wait(ctx context.Context) {
	defer closeAll(p.out, p.say)
	p.awaitEnd()
	if !p.spare() {
		<-p.killed // its number is free for others once it is reaped
	}
	if p.err = p.reap(); p.err != nil && ctx.Err() != nil {
		p.err = fmt.Errorf("%w (%w)", context.Cause(ctx), p.err)
	}
	var errs [2]error
	if p.stderr, errs[0] = contents(p.say); !p.mute {
		p.stdout, errs[1] = contents(p.out)
	}
	if p.err == nil {
		p.err = errors.Join(errs[:]...)
	}
}

// contents returns all that is in a file.
func contents(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	text := make([]byte, info.Size())
	_, err = file.ReadAt(text, 0)
	return text, err
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
	text := fmt.Sprintf("restore rules (%s, %s): %s%v", e.Family, e.Variant, where, e.Err)
	if e.Stderr != "" {
		text += ": " + e.Stderr
	}
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
var refusedLine = expression(`\bline:? (\d+)`)

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
