package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// TestRestoreThatChangesNothingIsAnError has restore programs that end without an error and
// do nothing: of one family, and of both. The legacy variant is believed.
func TestRestoreThatChangesNothingIsAnError(t *testing.T) {
	t.Parallel()
	for name, families := range map[string][]inet.Family{"ipv4": {inet.IPv4}, "ipv6": {inet.IPv6}, "both": inet.Families[:]} {
		for _, from := range [][]string{asTProxy, asClean} {
			t.Run(name+"/"+from[0], func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.exits(0, from...)
				before := s.state()
				for _, f := range families {
					s.wrap(tool(xtables.NFT, f), "cat >/dev/null")
				}
				log := s.exits(1, in(xtables.NFT, asRedirect)...)
				if !strings.Contains(log, "-restore ended without an error and changed no rule") {
					t.Errorf("the log does not say why:\n%s", log)
				}
				if diff := cmp.Diff(before, s.state()); diff != "" {
					t.Errorf("left changed (-before +after):\n%s\n%s", diff, log)
				}
			})
		}
	}
}

// TestSaveThatPrintsNothingIsNotAnEmptyState: the jumps are not added a second time, and
// nothing is reported as clean.
func TestSaveThatPrintsNothingIsNotAnEmptyState(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		for _, f := range inet.Families {
			t.Run(v.String()+"/"+f.String(), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.exits(0, in(v, asRedirect)...)
				before := s.state()
				s.wrap(strings.Replace(tool(v, f), "restore", "save", 1), "exit 0")
				const says = "does not print the table nat, which the kernel has"
				for want, args := range map[int][]string{1: in(v, asTProxy), 2: {"check"}} {
					if log := s.exits(want, args...); !strings.Contains(log, says) {
						t.Errorf("%s does not say why:\n%s", args, log)
					}
				}
				if log := s.exits(1, cleanCommand); !strings.Contains(log, says) || strings.Contains(log, "nothing to remove\t{\"variant\": \""+v.String()) {
					t.Errorf("clean does not say why:\n%s", log)
				}
				s.sh("rm " + s.wrappers + "/*")
				if diff := cmp.Diff(before, s.state()); diff != "" {
					t.Errorf("left changed (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// TestDeniedSystemCalls denies system calls to a run that has a change to make. Most have a
// substitute. Else no rule was changed, so none has to be put back, and the error says what
// denied the call.
func TestDeniedSystemCalls(t *testing.T) {
	t.Parallel()
	needKernel(t, "strace")
	const (
		unchanged = "no rule was changed"
		confined  = "look at the packet filter (the capability is held, so this was denied by SELinux, AppArmor or a seccomp profile"
		noNetlink = "the kernel has no netlink sockets"
	)
	for inject, says := range map[string]string{ // "": it succeeds
		"memfd_create:error=EPERM":      "",
		"memfd_create:error=ENOSYS":     "",
		"setns:error=EPERM":             "",
		"clone3:error=EPERM":            "",
		"unshare:error=EPERM":           "",
		"waitid:error=EPERM":            "",
		"capget:error=EPERM":            "",
		"capset:error=EPERM":            "",
		"pidfd_send_signal:error=EPERM": "",
		"pipe2:error=EMFILE":            unchanged,
		"sendto:error=EACCES":           confined,
		"bind:error=EACCES":             confined,
		"socket:error=EPERM":            confined,
		"socket:error=EPROTONOSUPPORT":  noNetlink,
	} {
		for _, b := range backends {
			if b == native && says == unchanged {
				continue // it makes no pipe
			}
			t.Run(b.String()+"/"+inject, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				before := s.state()
				log, code := s.denying(inject, in(b, asTProxy)...)
				if says == "" {
					if code != 0 {
						t.Errorf("exit code %d:\n%s", code, log)
					}
					return
				}
				if code != 1 || !strings.Contains(log, says) || strings.Contains(log, "put the rules back") || strings.Contains(log, "(needs ") {
					t.Errorf("exit code %d; the log does not say %q:\n%s", code, says, log)
				}
				if diff := cmp.Diff(before, s.state()); diff != "" {
					t.Errorf("left changed (-before +after):\n%s", diff)
				}
			})
		}
	}
}

// denying runs the program with a fault of strace(1) injected into one of its system calls
// and of its children's.
func (s *site) denying(inject string, args ...string) (log string, code int) {
	s.t.Helper()
	call, _, _ := strings.Cut(inject, ":")
	return s.start("/usr/bin/strace", append([]string{"-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=" + call, "-e", "inject=" + inject, built}, args...)...)
}
