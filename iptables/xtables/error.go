package xtables

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"istio-init/netutil/inet"
)

// A RestoreError says that the kernel or iptables refused a script. Nothing of
// the table that the line belongs to was changed.
type RestoreError struct {
	Family  inet.Family
	Variant Variant
	Line    int    // in the script, from 1; 0 when iptables did not tell
	Text    string // of that line
	Stderr  string // what iptables said, on one line
	Err     error  // how the program ended
	// Needs are the modules of the kernel that the line needs; where nothing
	// else is wrong, one of them is missing.
	Needs []string
	// Foreign are rules of the table, of which the kernel refuses one also without a change;
	// none where the change is refused.
	Foreign []string
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
	if len(e.Foreign) > 0 {
		text += "; the kernel refuses a foreign rule that is there already: " + strings.Join(e.Foreign, "; ")
	}
	return text
}

// Refused reports whether the program itself has failed: it was started and not killed.
func (e *RestoreError) Refused() bool {
	exit, ended := errors.AsType[*exec.ExitError](e.Err)
	return ended && exit.Exited()
}

// Unwrap returns how the program ended.
func (e *RestoreError) Unwrap() error { return e.Err }

// A RevertError says why changed rules could not be put back. All or some of the change
// stays.
type RevertError struct{ Err error }

func (e *RevertError) Error() string { return "put the rules back: " + e.Err.Error() }

// Unwrap returns why.
func (e *RevertError) Unwrap() error { return e.Err }

// An IdleError says that a restore program has ended without an error and has changed
// nothing.
type IdleError struct{ Program string }

func (e *IdleError) Error() string {
	return e.Program + " ended without an error and changed no rule"
}

// refusedLine finds the number in what iptables-restore says of a line. Seen of
// 1.8.9: "iptables-restore: line 12 failed", "Error occurred at line: 8", and
// of the nft variant "line 4: RULE_APPEND failed (No such file or directory)".
// The table's COMMIT is named when the kernel refused the table as a whole.
var refusedLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\bline:? (\d+)`) })

// newRestoreError explains why a restore process failed.
func newRestoreError(f inet.Family, v Variant, p *process) *RestoreError {
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
