package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
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
	caps  []uintptr // to have, though not root
	// files are the child's files from 3 on.
	files []*os.File

	stdout, stderr bytes.Buffer
	err            error
}

// stderrText is what the program complained of, on one line.
func (p *process) stderrText() string {
	return strings.Join(strings.Fields(p.stderr.String()), " ")
}

// runAll runs programs at the same time and waits for all. They are started one
// after the other on the calling thread, so they inherit its network namespace.
func runAll(ctx context.Context, processes []*process) {
	commands := make([]*exec.Cmd, len(processes))
	for i, p := range processes {
		cmd := exec.CommandContext(ctx, p.path, p.args...)
		cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &p.stdout, &p.stderr
		cmd.WaitDelay = time.Second // for a grandchild that keeps the pipes open
		// A group of its own, so that what the program has started ends with it.
		cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: p.caps, Setpgid: true}
		cmd.Cancel = func() error {
			err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			if errors.Is(err, syscall.ESRCH) { // it ended just before
				return os.ErrProcessDone
			}
			return err
		}
		cmd.ExtraFiles = p.files
		if p.stdin != "" {
			cmd.Stdin = strings.NewReader(p.stdin)
		}
		if p.err = cmd.Start(); p.err == nil {
			commands[i] = cmd
		}
	}
	var done sync.WaitGroup
	for i, cmd := range commands {
		if cmd == nil {
			continue
		}
		// Waiting needs no namespace. Each is waited for by itself, so that one
		// that has ended in time is not taken for one that has not.
		done.Go(func() {
			p := processes[i]
			if p.err = cmd.Wait(); p.err != nil && ctx.Err() != nil {
				p.err = fmt.Errorf("%w (%w)", ctx.Err(), p.err)
			}
		})
	}
	done.Wait()
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
var refusedLine = regexp.MustCompile(`\bline:? (\d+)`)

// newRestoreError explains why a restore process failed.
func newRestoreError(f Family, v Variant, p *process) *RestoreError {
	e := &RestoreError{Family: f, Variant: v, Stderr: p.stderrText(), Err: p.err}
	if m := refusedLine.FindStringSubmatch(e.Stderr); m != nil {
		lines := strings.Split(p.stdin, "\n")
		if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && n <= len(lines) {
			e.Line, e.Text = n, lines[n-1]
			e.Needs = needs(f, v, p.stdin, n)
		}
	}
	return e
}
