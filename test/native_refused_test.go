package test

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// traced runs the program and calls before ahead of each of its system calls.
func (s *site) traced(before func(thread int, call syscallInfo), args ...string) (log string, code int) {
	s.t.Helper()
	cmd := exec.Command(built, args...)
	cmd.Env = s.env
	tr := &tracer{before: before}
	code, log, err := tr.run(s.Path(), cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	return log, code
}

// commits reports whether a call sends a transaction to nf_tables.
func commits(thread int, call syscallInfo) bool {
	if call.number != unix.SYS_SENDTO {
		return false
	}
	kind, _, ok := netlinkHeader(thread, call)
	return ok && kind == unix.NFNL_MSG_BATCH_BEGIN
}

// TestRefusedTransactionNamesOurRule: the kernel refuses an expression of IPv6 after it has
// taken all of IPv4.
func TestRefusedTransactionNamesOurRule(t *testing.T) {
	t.Parallel()
	for expression, tt := range map[string]struct {
		to   []string
		rule string
	}{
		"tproxy": {asTProxy, "mangle-ISTIO_TPROXY ip6 daddr != ::1 meta l4proto tcp tproxy to :16006 meta mark set 0x00000539 accept"},
		"redir":  {asRedirect, "nat-ISTIO_REDIRECT meta l4proto tcp redirect to :15001"},
	} {
		t.Run(expression, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.exits(0, in(native, asOther)...)
			before := s.state()
			log, code := s.traced(kernelWithout{expression: expression}.before, in(native, tt.to)...)
			if says := "error\tchange nf_tables: add rule ip6 istio-init " + tt.rule + ": no such file or directory"; code != 1 || !strings.Contains(log, says) {
				t.Errorf("exit code %d; the log does not say %q:\n%s", code, says, log)
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("left changed (-before +after):\n%s", diff)
			}
			s.exits(0, in(native, tt.to)...)
		})
	}
}

// TestTransactionThatTheBufferDoesNotTake has the kernel cut the buffer as a small wmem_max does.
func TestTransactionThatTheBufferDoesNotTake(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var prefixes []string
	for i := range 5000 { // the default buffer does not take them
		prefixes = append(prefixes, fmt.Sprintf("fd01:%x::/48", 2*i))
	}
	s.exits(0, in(native, asRedirect)...)
	before := s.state()
	args := in(native, append(flags("-m REDIRECT -i * -b *"), "-x", strings.Join(prefixes, ",")))
	log, code := s.traced(kernelWithout{buffer: true}.before, args...)
	if says := `error\tchange nf_tables: \d{6} bytes of rules are more than netlink takes here, raise net\.core\.wmem_max: message too long`; code != 1 || !regexp.MustCompile(says).MatchString(log) {
		t.Errorf("exit code %d; the log does not say %s:\n%.2000s", code, says, log)
	}
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("left changed (-before +after):\n%s", diff)
	}
	s.exits(0, args...)
}

// TestOthersChangeNFTablesBetweenLookAndChange has nft change something each time that the
// program is about to send its transaction, or only the first time.
func TestOthersChangeNFTablesBetweenLookAndChange(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"elsewhere":       "nft add table inet theirs; nft delete table inet theirs",
		"in-our-table":    "nft insert rule ip istio-init nat-OUTPUT counter",
		"our-table-goes":  "nft add table ip6 istio-init; nft delete table ip6 istio-init",
		"everything-goes": "nft add table ip istio-init; nft flush ruleset",
	} {
		for often, times := range map[string]int{"once": 1, "each-time": 100} {
			t.Run(name+"/"+often, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.exits(0, in(native, asRedirect)...)
				tries := 0
				log, code := s.traced(func(thread int, call syscallInfo) {
					if commits(thread, call) {
						if tries++; tries <= times {
							_, _ = s.start("/bin/sh", "-c", script)
						}
					}
				}, in(native, asTProxy)...)
				says, want := "", 0
				if times > 1 && name == "in-our-table" {
					says, want = "other programs (nft) changed the rules between look and change, 5 times in a row: ", 1
				}
				if code != want || !strings.Contains(log, says) || tries > 8 {
					t.Errorf("exit code %d after %d tries, want %d and %q:\n%s", code, tries, want, says, log)
				}
				s.exits(0, in(native, asTProxy)...)
				s.exits(0, checkOf(native, asTProxy)...)
			})
		}
	}
}
