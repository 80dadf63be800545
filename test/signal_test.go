package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
)

// TestSignalEndsRunButNotRollback sends a signal while a restore hangs, and another one
// during the rollback.
func TestSignalEndsRunButNotRollback(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			before := s.state()
			done := filepath.Join(s.wrappers, "ipv4") // so that there is something to roll back
			s.wrap(fmt.Sprintf("iptables-%s-restore", v), fmt.Sprintf(`"$real" "$@"; code=$?; touch %s; exit $code`, done))
			s.wrap(fmt.Sprintf("ip6tables-%s-restore", v), fmt.Sprintf(`until [ -e %s ]; do sleep .01; done; kill -TERM $PPID; exec sleep 60`, done))
			s.wrap(fmt.Sprintf("ip6tables-%s-save", v), `kill -TERM $PPID; touch "$0.ran"; exec "$real" "$@"`)
			log := s.exits(1, in(v, asRedirect)...)
			for _, want := range []string{"terminated signal received", "what the run had changed was taken back"} {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %q:\n%s", want, log)
				}
			}
			s.sh(fmt.Sprintf("test -e %s/ip6tables-%s-save.ran", s.wrappers, v))
			for _, tool := range []string{"save", "restore"} {
				s.sh(fmt.Sprintf("rm %s/ip6tables-%s-%s", s.wrappers, v, tool))
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("left changed (-before +after):\n%s", diff)
			}
		})
	}
}
