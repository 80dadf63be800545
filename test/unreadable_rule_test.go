package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// printsUnreadably makes iptables-save of a family print one rule in a form that only
// iptables can parse.
func (s *site) printsUnreadably(v xtables.Variant, f inet.Family) {
	s.t.Helper()
	s.wrap(saver(v, f), `"$real" "$@" | sed 's/-o lo -m owner ! --uid-owner 1337/-o lo -m owner ! --owner-user 1337/'`)
}

func saver(v xtables.Variant, f inet.Family) string {
	return strings.Replace(tool(v, f), "-restore", "-save", 1)
}

// checkOf returns the arguments of check for those of an apply.
func checkOf(b backend, args []string) []string {
	return append([]string{"check"}, in(b, args)[1:]...)
}

// onVariants runs a test with both variants, in a namespace with our rules.
func onVariants(t *testing.T, test func(t *testing.T, s *site, v xtables.Variant)) {
	t.Helper()
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.exits(0, in(v, asRedirect)...)
			test(t, s, v)
		})
	}
}

// TestUnreadableRuleKnownToIptablesIsNoDrift: iptables -C confirms the rule and changes
// nothing.
func TestUnreadableRuleKnownToIptablesIsNoDrift(t *testing.T) {
	onVariants(t, func(t *testing.T, s *site, v xtables.Variant) {
		s.printsUnreadably(v, inet.IPv4)
		handles := "true"
		if v == xtables.NFT {
			s.printsUnreadably(v, inet.IPv6)
			handles = "nft -a list ruleset"
		}
		before := s.state() + s.sh(handles)
		if answer := s.exits(0, checkOf(v, asRedirect)...); !strings.Contains(answer, "in order: ") || strings.Contains(answer, "not certain") {
			t.Errorf("want no drift, got\n%s", answer)
		}
		if log := s.exits(0, in(v, asRedirect)...); strings.Count(log, "nothing written") != 2 || strings.Contains(log, "warn") {
			t.Errorf("want nothing written, and no warning:\n%s", log)
		}
		if diff := cmp.Diff(before, s.state()+s.sh(handles)); diff != "" {
			t.Errorf("asking changed (-before +after):\n%s", diff)
		}
	})
}

// TestUnreadableRuleUnknownToIptablesIsDrift has a foreign rule in the place of ours, for
// another user and printed in an unknown form. ip6tables-legacy -C is not used: 1.8.8 and
// 1.8.9 would confirm it as ours.
func TestUnreadableRuleUnknownToIptablesIsDrift(t *testing.T) {
	onVariants(t, func(t *testing.T, s *site, v xtables.Variant) {
		before := s.state()
		for _, f := range inet.Families {
			program := strings.TrimSuffix(tool(v, f), "-restore")
			s.sh(fmt.Sprintf(`n=$(%s -t nat -S ISTIO_OUTPUT | sed 1d | grep -n -- '-o lo -m owner ! --uid-owner 1337' | cut -d: -f1)
				%[1]s -t nat -R ISTIO_OUTPUT $n -o lo -m owner ! --uid-owner 1338 -j RETURN`, program))
			s.wrap(saver(v, f), `"$real" "$@" | sed 's/--uid-owner 1338/--owner-user 1338/'`)
		}
		answer := s.exits(exitDrifted, checkOf(v, asRedirect)...)
		for _, want := range []string{"\n--o lo -m owner ! --owner-user 1338 -j RETURN", "\n+-o lo -m owner ! --uid-owner 1337 -j RETURN"} {
			if strings.Count(answer, want) != len(inet.Families) {
				t.Errorf("the drift of a family has no %q:\n%s", want, answer)
			}
		}
		if log := s.exits(0, in(v, asRedirect)...); strings.Count(log, "rules applied") != len(inet.Families) {
			t.Errorf("want both families written:\n%s", log)
		}
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("put in order (-want +got):\n%s", diff)
		}
	})
}

// TestTimeoutDuringIptablesCheckChangesNothing: iptables -C answers after the timeout.
func TestTimeoutDuringIptablesCheckChangesNothing(t *testing.T) {
	onVariants(t, func(t *testing.T, s *site, v xtables.Variant) {
		s.printsUnreadably(v, inet.IPv4)
		s.wrap(tool(v, inet.IPv4), `touch "$0.ran"; exec "$real" "$@"`) // the program searches iptables in the same directory
		s.wrap(strings.TrimSuffix(tool(v, inet.IPv4), "-restore"), `case $1 in --version) ;; *) sleep 2.5 ;; esac; exec "$real" "$@"`)
		before := s.state()
		for code, args := range map[int][]string{1: in(v, asRedirect), exitUnknown: checkOf(v, asRedirect)} {
			log := s.exits(code, append(args, "--timeout", "2s")...)
			if want := "about unreadable rules: context deadline exceeded"; !strings.Contains(log, want) {
				t.Errorf("%s does not say %q:\n%s", args[0], want, log)
			}
		}
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("left changed (-before +after):\n%s", diff)
		}
		if _, err := os.Stat(filepath.Join(s.wrappers, tool(v, inet.IPv4)+".ran")); err == nil {
			t.Error("rules were written")
		}
	})
}

// TestUnreadableRuleIsReportedWithoutIptablesCheck has no iptables beside the restore program.
func TestUnreadableRuleIsReportedWithoutIptablesCheck(t *testing.T) {
	onVariants(t, func(t *testing.T, s *site, v xtables.Variant) {
		s.printsUnreadably(v, inet.IPv4)
		s.wrap(tool(v, inet.IPv4), `exec "$real" "$@"`)
		before := s.state()
		const says = "unreadable rule in nat ISTIO_OUTPUT: "
		answer, code := s.run(checkOf(v, asRedirect)...)
		if words := strings.Join(strings.Fields(answer), " "); code != exitDrifted || !strings.Contains(words, "not certain: ipv4: "+says) || strings.Contains(words, "ipv6: unread") {
			t.Errorf("exit code %d, want drift that is not certain:\n%s", code, answer)
		}
		log, code := s.run(in(v, asRedirect)...)
		if code != 0 || strings.Count(log, says) != 1 || strings.Count(log, "rules applied") != 1 {
			t.Errorf("exit code %d, want a warning, and IPv4 written:\n%s", code, log)
		}
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("written anew (-before +after):\n%s", diff)
		}
	})
}

// TestUnreadableRuleIsIdentifiedAsNonRoot: iptables -C has the capabilities of the other
// programs.
func TestUnreadableRuleIsIdentifiedAsNonRoot(t *testing.T) {
	onVariants(t, func(t *testing.T, s *site, v xtables.Variant) {
		s.printsUnreadably(v, inet.IPv4)
		if err := os.Chmod(filepath.Dir(s.wrappers), 0o755); err != nil {
			t.Fatal(err)
		}
		answer, code := s.confined(asNobody, append([]string{",+net_admin,+net_raw", built}, checkOf(v, asRedirect)...)...)
		if code != 0 || !strings.Contains(answer, "in order: ") || strings.Contains(answer, "not certain") {
			t.Errorf("exit code %d, want no drift:\n%s", code, answer)
		}
	})
}
