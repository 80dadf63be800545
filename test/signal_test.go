package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
)

// listens is what the log says of a run that takes long.
const listens = "signals end this run in good order from here on"

// TestSignalsEndARunThatTakesLongAndNotItsUndo has one that is asked to end while a
// restore hangs, and again while it takes back what it had done.
func TestSignalsEndARunThatTakesLongAndNotItsUndo(t *testing.T) {
	t.Parallel()
	for _, v := range iptables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			before := s.state()
			said := filepath.Join(s.wrappers, "said")
			// The loop ends at the latest with the run, which ends what it has started.
			s.wrap(fmt.Sprintf("ip6tables-%s-restore", v), fmt.Sprintf("until grep -q %q %s; do :; done\nkill -TERM $PPID\nexec sleep 60", listens, said))
			s.wrap(fmt.Sprintf("ip6tables-%s-save", v), `kill -TERM $PPID; touch "$0.ran"; exec "$real" "$@"`)
			log, code := s.run(append(in(v, asRedirect), "--log_output_level", "debug", "--log_target", said)...)
			if code != 1 {
				t.Errorf("exit code %d, want 1\n%s", code, log)
			}
			text := s.sh("cat " + said)
			for _, want := range []string{"terminated signal received", "what the run had changed was taken back"} {
				if !strings.Contains(text, want) {
					t.Errorf("the log does not say %q:\n%s", want, text)
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
