package xtables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
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
	mute  bool       // its stdout is no answer and goes to stderr
	caps  []uintptr  // to have, though not root
	files []*os.File // the child's files from 3 on

	stdout, stderr []byte
	err            error

	cmd              *exec.Cmd
	outFile, errFile *os.File
	stopKill         func() bool   // of context.AfterFunc: false when the kill has begun
	killDone         chan struct{} // closed when it has ended
}

// started reports whether the program was started.
func (p *process) started() bool { return p.cmd != nil && p.cmd.Process != nil }

// stderrText is what the program complained of, on one line.
func (p *process) stderrText() string {
	return strings.Join(strings.Fields(string(p.stderr)), " ")
}

// runAll runs programs at the same time and waits for all. They are started one
// after the other on the calling thread, so they inherit its network namespace. The
// end of the context kills those that have not ended.
func runAll(ctx context.Context, processes []*process) {
	for _, p := range processes {
		if p.err = context.Cause(ctx); p.err == nil {
			p.err = p.start(ctx)
		}
	}
	for _, p := range processes {
		if p.err == nil {
			p.wait(ctx)
		}
	}
}

// start starts the program. Its first three files are in memory, not pipes: it never
// waits for us, no goroutine copies for it, what it has started does not keep us
// waiting, and it has all of its input also when we are killed.
func (p *process) start(ctx context.Context) (err error) {
	in, err := memoryFile("stdin")
	if err != nil {
		return err
	}
	defer in.Close()
	defer func() {
		if err != nil {
			closeAll(p.outFile, p.errFile)
		}
	}()
	if _, err := in.WriteAt([]byte(p.stdin), 0); err != nil { // its offset stays 0
		return err
	}
	if p.errFile, err = memoryFile("stderr"); err != nil {
		return err
	}
	if p.mute {
		p.outFile = p.errFile
	} else if p.outFile, err = memoryFile("stdout"); err != nil {
		return err
	}
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Env, p.cmd.ExtraFiles = p.env, p.files
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, p.outFile, p.errFile
	// A group of its own, so that what the program has started is killed with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: p.caps, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.limitFiles()
	p.killDone = make(chan struct{})
	p.stopKill = context.AfterFunc(ctx, func() {
		defer close(p.killDone)
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended just before
	})
	return nil
}

// memoryFile makes a file that has no path and that ends with who has it open.
func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, which may insist on the seal
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	for _, dir := range []string{"/dev/shm", "/tmp", "/run"} {
		if err == nil {
			break
		}
		// A seccomp profile may refuse the call; a file without a name is as good.
		if open, none := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600); none == nil {
			fd, err = open, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory (memfd_create), or one without a name in /dev/shm, /tmp or /run: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// wait waits for the end of the program and takes what it printed.
//
// A process group can only be killed by its number, which the kernel gives to others
// once the leader is reaped and the group is empty. exec.Cmd.Wait reaps first and
// stops watching its context after that, so its Cancel may hit such others. Here the
// leader is reaped last: waitid(2) with WNOWAIT leaves it, then nothing may kill the
// group any more, and only then Cmd.Wait reaps.
func (p *process) wait(ctx context.Context) {
	defer closeAll(p.outFile, p.errFile)
	reap := p.cmd.Wait
	if err := awaitEnd(p.cmd.Process.Pid); err != nil { // a seccomp profile may deny waitid, on which Wait relies too
		reaped := reapEnded(p.cmd.Process.Pid)
		reap = func() error { return reaped }
	}
	if !p.stopKill() {
		<-p.killDone
	}
	if p.err = reap(); p.err != nil && ctx.Err() != nil {
		p.err = fmt.Errorf("%w (%w)", context.Cause(ctx), p.err)
	}
	var errs [3]error
	if p.stderr, errs[0] = ends(p.errFile); !p.mute {
		p.stdout, errs[1] = contents(p.outFile)
	}
	errs[2] = tooLong(p.outFile, p.errFile)
	if p.err == nil || errs[2] != nil {
		p.err = errors.Join(errs[:]...)
	}
}

// awaitEnd waits until a child has ended and leaves it to be reaped.
func awaitEnd(pid int) error {
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		err = unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
	return err
}

// reapEnded waits until a child has ended, reaps it, and returns how it failed.
func reapEnded(pid int) error {
	var status unix.WaitStatus
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Wait4(pid, &status, 0, nil)
	}
	switch {
	case err != nil:
		return fmt.Errorf("wait for the program: %w", err)
	case status.Signaled():
		return fmt.Errorf("signal: %v", status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	}
	return nil
}

// maxOutput limits the bytes that a program prints: several times the rules of the largest
// known machine. maxStderr limits those of them that are read of its complaints.
const (
	maxOutput = 64 << 20
	maxStderr = 8 << 10
)

// limitFiles has the kernel kill the program if it prints too much (RLIMIT_FSIZE in
// getrlimit(2)). What a program prints before the limit is set counts too.
func (p *process) limitFiles() {
	var limit unix.Rlimit
	pid := p.cmd.Process.Pid
	if unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &limit) == nil && limit.Max > maxOutput {
		// Without the right to, a program that prints too much goes on until the end of the context.
		_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: maxOutput, Max: maxOutput}, nil)
	}
}

// tooLong is the error of a program that printed too much.
func tooLong(files ...*os.File) error {
	for _, file := range files {
		if info, err := file.Stat(); err == nil && info.Size() >= maxOutput {
			return fmt.Errorf("printed %d MB or more", maxOutput>>20)
		}
	}
	return nil
}

// contents returns all that is in a file, up to maxOutput.
func contents(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	text := make([]byte, min(info.Size(), maxOutput))
	_, err = file.ReadAt(text, 0)
	return text, err
}

// ends returns the beginning and the end of a file: a complaint about a line comes last.
func ends(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil || info.Size() <= maxStderr {
		return contents(file)
	}
	text := make([]byte, maxStderr)
	if _, err := file.ReadAt(text[:maxStderr/2], 0); err != nil {
		return nil, err
	}
	_, err = file.ReadAt(text[maxStderr/2:], info.Size()-maxStderr/2)
	return slices.Concat(text[:maxStderr/2], []byte(" ... "), text[maxStderr/2:]), err
}

func closeAll(files ...*os.File) {
	for _, file := range files {
		if file != nil {
			_ = file.Close()
		}
	}
}
