package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/test/kernel"
)

// changing matches a message or a transaction that changes what the kernel has.
var changing = regexp.MustCompile(`NFNL_MSG_BATCH_BEGIN|RTM_(NEW|DEL)(ROUTE|RULE|ADDR|LINK)[^<]*NLM_F_REQUEST`)

// TestFewProgramsAndNoNeedlessChanges counts the programs that a run starts, and what a run
// changes for which nothing is to be done.
func TestFewProgramsAndNoNeedlessChanges(t *testing.T) {
	kernel.Need(t, "strace")
	programs := map[backend][3]int{xtables.NFT: {1, 1, 1}, xtables.Legacy: {1, 1, 2}, native: {0, 0, 0}}
	onBackends(t, func(t *testing.T, b backend) {
		s := newSite(t)
		line := in(b, append([]string{applyCommand, "--ip-family", "ipv4"}, sidecar[1:]...))
		for i, run := range []struct {
			name string
			args []string
		}{{"apply", line}, {"re-run", line}, {"clean", []string{cleanCommand}}} {
			started, changes := s.asksFor(run.args...)
			if want := programs[b][i]; started != want {
				t.Errorf("%s starts %d programs, want %d", run.name, started, want)
			}
			if run.name == "re-run" && len(changes) > 0 {
				t.Errorf("a re-run changes something:\n%s", strings.Join(changes, "\n"))
			}
			if run.name == "apply" && b != xtables.Legacy && len(changes) == 0 {
				t.Error("the transaction of an apply is not recognized")
			}
		}
	})
}

// asksFor runs the program under strace(1), and returns how many programs it starts and what
// it and these change by netlink.
func (s *site) asksFor(args ...string) (programs int, changes []string) {
	s.t.Helper()
	trace := filepath.Join(s.t.TempDir(), "trace")
	tracer := []string{"-f", "-qq", "-e", "signal=none", "-e", "trace=execve,sendto,sendmsg", "-o", trace, built}
	if log, code := s.start("/usr/bin/strace", append(tracer, args...)...); code != 0 {
		s.t.Fatalf("exit code %d:\n%s", code, log)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		s.t.Fatal(err)
	}
	programs = -1 // itself
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "execve") && strings.HasSuffix(line, " = 0\n") {
			programs++
		}
		if changing.MatchString(line) {
			changes = append(changes, line)
		}
	}
	return programs, changes
}
