package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// TestRollbackThatFailsKeepsWhatRulesNeed: IPv6 is refused when IPv4 has its rules, and
// after that the rules cannot be read, so the rollback fails too.
func TestRollbackThatFailsKeepsWhatRulesNeed(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			flag := filepath.Join(s.wrappers, "refused")
			restore4, restore6 := tool(v, inet.IPv4), tool(v, inet.IPv6)
			done := filepath.Join(s.wrappers, "ipv4")
			s.wrap(restore4, fmt.Sprintf(`"$real" "$@"; code=$?; touch %s; exit $code`, done))
			s.wrap(restore6, fmt.Sprintf(`cat >/dev/null; until [ -e %s ]; do sleep .01; done; touch %s; exit 1`, done, flag))
			s.wrap(strings.Replace(restore4, "-restore", "-save", 1), fmt.Sprintf(`[ ! -e %s ] || exit 1; exec "$real" "$@"`, flag))
			log := s.exits(1, in(v, flags("-m TPROXY -i * -b *"))...)
			if !strings.Contains(log, "put the rules back: ") || strings.Contains(log, "was taken back") || !strings.Contains(log, "rules may still need them") {
				t.Errorf("the log does not say that rules stay:\n%s", log)
			}
			state := s.state()
			for _, want := range []string{"-j TPROXY", "fwmark 0x539 lookup 133", "local default dev lo table 133", "inet6 ::6/128"} {
				if !strings.Contains(state, want) {
					t.Errorf("%q is missing:\n%s\n%s", want, state, log)
				}
			}
			s.sh("rm " + filepath.Join(s.wrappers, "*tables*"))
			s.exits(0, in(v, flags("-m TPROXY -i * -b *"))...)
		})
	}
}
