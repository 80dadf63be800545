package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// once makes a wrapper run a script of another program before the wrapped one, the first time.
func once(script string) string {
	return fmt.Sprintf(`if mkdir "$0.once" 2>/dev/null; then (%s) </dev/null; fi
		exec "$real" "$@"`, script)
}

// iptablesOf returns the name of iptables for a variant and family.
func iptablesOf(v xtables.Variant, f inet.Family) string {
	return strings.TrimSuffix(tool(v, f), "-restore")
}

// TestChangeThatOthersSpoilIsPlannedAgain: another program changes what the plan relies on,
// between look and change. The kernel refuses the change, and no module is missing.
func TestChangeThatOthersSpoilIsPlannedAgain(t *testing.T) {
	t.Parallel()
	for name, spoils := range map[string]string{
		"our-jump-goes":     "%[1]s -t nat -D OUTPUT -j ISTIO_OUTPUT",
		"foreign-rules-go":  "%[1]s -t nat -D OUTPUT -p icmp -j RETURN; %[1]s -t nat -D OUTPUT -p icmp -j RETURN; %[1]s -t nat -D OUTPUT -j ISTIO_OUTPUT",
		"all-rules-go":      "%[1]s -t nat -F; %[1]s -t nat -X",
		"chain-is-held":     "%[1]s -t nat -N THEIRS; %[1]s -t nat -A THEIRS -j ISTIO_IN_REDIRECT",
		"foreign-rules-add": "%[1]s -t nat -I OUTPUT -p icmp -j RETURN",
	} {
		for _, v := range xtables.Variants {
			if v == xtables.Legacy && strings.Contains(spoils, "-j ISTIO_OUTPUT") {
				continue // what the kernel does not refuse is not seen: legacy has a lock instead
			}
			t.Run(v.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.sh(fmt.Sprintf("for i in 1 2; do XTABLES_LOCKFILE=/proc/self/ns/net %s -t nat -A OUTPUT -p icmp -j RETURN; done", iptablesOf(v, inet.IPv4)))
				s.exits(0, in(v, asDNS)...)
				s.wrap(tool(v, inet.IPv4), once(fmt.Sprintf(spoils, "/usr/sbin/"+iptablesOf(v, inet.IPv4))))
				for _, to := range [][]string{asTProxy, asDNS} {
					log := s.exits(0, in(v, to)...)
					if strings.Contains(log, "needs of the kernel") {
						t.Errorf("the log names modules:\n%s", log)
					}
					if log := s.exits(0, append([]string{"check"}, in(v, to)[1:]...)...); !strings.Contains(log, "in order") {
						t.Errorf("drift:\n%s", log)
					}
				}
			})
		}
	}
}

// TestChangeThatOthersSpoilEachTimeIsAnError: the error says that others change rules, and the
// rules are as they were.
func TestChangeThatOthersSpoilEachTimeIsAnError(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.exits(0, in(v, asRedirect)...)
			before := s.state()
			s.wrap(tool(v, inet.IPv6), fmt.Sprintf(`/usr/sbin/%s -t filter -A INPUT -p tcp --dport 1 -j DROP
				line=$(grep -n COMMIT | sed '1!d; s/:.*//'); echo "line $line failed" >&2; echo >>"$0.tried"; exit 1`, iptablesOf(v, inet.IPv6)))
			log := s.exits(1, in(v, asTProxy)...)
			who := "other programs"
			if v == xtables.NFT {
				who += " (ip6tables-nft)"
			}
			if !strings.Contains(log, who+" changed the rules between look and change, 5 times in a row") || strings.Contains(log, "needs of the kernel") {
				t.Errorf("the log does not say why:\n%s", log)
			}
			if tried := s.sh("wc -l <" + s.wrappers + "/" + tool(v, inet.IPv6) + ".tried"); strings.TrimSpace(tried) != "5" {
				t.Errorf("tried %s times", tried)
			}
			s.sh(fmt.Sprintf("XTABLES_LOCKFILE=/proc/self/ns/net /usr/sbin/%s -t filter -F", iptablesOf(v, inet.IPv6)))
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("left changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestJumpThatOthersDisplaceIsMovedBack: a foreign rule ahead of ours goes between look and
// change, so that the number under which our jump is inserted is behind a foreign rule that it
// was ahead of.
func TestJumpThatOthersDisplaceIsMovedBack(t *testing.T) {
	t.Parallel()
	const v, f = xtables.NFT, inet.IPv4
	s, mangle := newSite(t), "/usr/sbin/"+iptablesOf(v, f)+" -t mangle "
	s.sh(mangle + "-A PREROUTING -p icmp -j RETURN")
	s.exits(0, in(v, asPorts)...)
	s.sh(mangle + "-A PREROUTING -p tcp --dport 80 -j ACCEPT")
	s.wrap(tool(v, f), once(mangle+"-D PREROUTING -p icmp -j RETURN"))
	log := s.exits(0, in(v, flags("-m TPROXY -i * -b 8080,9090"))...)
	want := `-P PREROUTING ACCEPT
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A PREROUTING -p tcp -m tcp --dport 80 -j ACCEPT
`
	if diff := cmp.Diff(want, s.sh(mangle+"-S PREROUTING")); diff != "" {
		t.Errorf("the rules (-want +got):\n%s\n%s", diff, log)
	}
}

// inOwnRun gives a script a /run of its own, for the common lock of iptables-legacy. slowly
// runs a program with a pause between its look at the tables and its change of them, which
// begins when the file of the pause is not empty.
const inOwnRun = `
mount -t tmpfs tmpfs /run
slowly() { exec strace -f --seccomp-bpf -qq -o "$pause" -e signal=none -e trace=setsockopt -e inject=setsockopt:delay_enter=400ms "$@"; }
pausing() { until [ -s "$pause" ]; do :; done; }
replace() { "$@" -w 20 -t nat -R POSTROUTING 1 -p tcp --dport 2 -j RETURN; }
unset XTABLES_LOCKFILE
`

// TestConcurrentChangeOfLegacyIsNotUndone lets another program, which takes the common lock,
// replace a rule while a run is between look and change, and the other way round. Each would
// write what it has read: the kernel notices only a table with another number of rules.
func TestConcurrentChangeOfLegacyIsNotUndone(t *testing.T) {
	t.Parallel()
	needKernel(t, "strace")
	const iptables = "/usr/sbin/iptables-legacy"
	for name, script := range map[string]string{
		"ours-is-slow":      `(pausing; replace ` + iptables + `) & "$program" "$@"`,
		"the-other-is-slow": `(replace slowly ` + iptables + `) & pausing; PATH=/usr/sbin "$program" "$@"`,
	} {
		for _, where := range []string{"", "--cni-mode"} {
			t.Run(name+where, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.restore(xtables.Legacy, inet.IPv4, "*nat\n-A POSTROUTING -p tcp --dport 1 -j RETURN\nCOMMIT\n")
				s.exits(0, in(xtables.Legacy, asDNS)...)
				prelude := inOwnRun + fmt.Sprintf("pause=%s/pause program=%s\n", s.wrappers, built)
				s.wrap("iptables-legacy-restore", fmt.Sprintf("pause=%s/pause\n", s.wrappers)+strings.Split(inOwnRun, "\n")[2]+"\nslowly \"$real\" \"$@\"")
				args := in(xtables.Legacy, flags("-m REDIRECT -i * -b * -d 15090,15021,15020 --redirect-dns --capture-all-dns -p 15009"))
				if where != "" {
					args = append(args, where)
				}
				log, code := s.confined(prelude+script+"\ncode=$?; wait; exit $code", args...)
				if code != 0 {
					t.Fatalf("exit code %d:\n%s", code, log)
				}
				nat := s.Save(t, xtables.Legacy, inet.IPv4)
				for _, want := range []string{"-A POSTROUTING -p tcp -m tcp --dport 2 -j RETURN", "--to-ports 15009"} {
					if !strings.Contains(nat, want) {
						t.Errorf("%s is undone:\n%s", want, nat)
					}
				}
			})
		}
	}
}

// TestLockOfAnotherNamespaceIsNotWaitedFor: from the node, a run does not wait for a program
// that holds the common lock and works on another network namespace.
func TestLockOfAnotherNamespaceIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	needKernel(t, "flock")
	s := newSite(t)
	log, code := s.confined(inOwnRun+fmt.Sprintf(`
unshare --net flock --exclusive --no-fork /run/xtables.lock sleep 60 &
while flock --nonblock --exclusive /run/xtables.lock true; do :; done
code=0; %s "$@" || code=$?
kill $!
exit $code
`, built), append(in(xtables.Legacy, asRedirect), "--cni-mode", "--timeout", "10s")...)
	if code != 0 {
		t.Errorf("exit code %d:\n%s", code, log)
	}
}
