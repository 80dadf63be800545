package test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/executable"
	"istio-init/test/kernel"
)

// A site is a network namespace with lo up, in which the program runs with a minimal
// environment.
type site struct {
	*kernel.NetNS
	t        *testing.T
	env      []string
	wrappers string // first in PATH
}

func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	needKernel(t)
	s := &site{NetNS: kernel.NewNetNS(t), t: t, wrappers: t.TempDir()}
	s.env = append([]string{"PATH=" + s.wrappers + ":/usr/sbin:/usr/bin:/sbin:/bin"}, env...)
	s.sh("ip link set lo up")
	return s
}

// start runs a command in the namespace and returns its output.
func (s *site) start(name string, args ...string) (output string, code int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Env = s.env
	var out []byte
	var err error
	s.Do(s.t, func() error {
		out, err = cmd.CombinedOutput()
		return nil
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// sh runs a script that has to succeed and returns its output.
func (s *site) sh(script string) string {
	s.t.Helper()
	out, code := s.start("/bin/sh", "-ec", script)
	if code != 0 {
		s.t.Fatalf("%s\nexit code %d: %s", script, code, out)
	}
	return out
}

// run runs the program and returns its log and exit code.
func (s *site) run(args ...string) (log string, code int) {
	s.t.Helper()
	return s.start(built, args...)
}

// exits runs the program, which has to exit with that code, and returns its log.
func (s *site) exits(want int, args ...string) string {
	s.t.Helper()
	log, code := s.run(args...)
	if code != want {
		s.t.Fatalf("%s %s: exit code %d, want %d\n%s", programName, strings.Join(args, " "), code, want, log)
	}
	return log
}

// state returns the rules, policy routing and addresses of the namespace.
func (s *site) state() string {
	s.t.Helper()
	return s.rules() + s.sh("ip addr")
}

// rules returns the rules and the policy routing of the namespace, without empty
// tables, which the legacy variant keeps.
func (s *site) rules() string {
	s.t.Helper()
	var text strings.Builder
	for _, b := range backends {
		for _, f := range inet.Families {
			fmt.Fprintf(&text, "== %s %s\n%s", f, b, s.saved(b, f))
		}
	}
	text.WriteString(s.sh(`for f in -4 -6; do
		echo "== ip $f"; ip $f rule; ip $f route show table all | sed '/ table local /d; /^::/d'
	done`))
	return text.String()
}

// wrap replaces a program by a script, which can call the program as "$real".
func (s *site) wrap(program, script string) {
	s.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		s.t.Fatal(err)
	}
	text := fmt.Sprintf("#!/bin/sh\nreal=%s\n%s\n", path, script)
	if err := executable.Write(filepath.Join(s.wrappers, program), []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// realInterface gives a namespace an interface that counts as physical: it has no
// IFLA_INFO_KIND, like those of a driver. It is the renamed loopback interface, because
// no program can create a physical one.
const realInterface = "ip link set lo down; ip link set lo name eth9; ip link set eth9 up\n"

// veths gives a namespace both ends of that many veth links.
func veths(links int) string { return strings.Repeat("ip link add type veth\n", links) }

// networks are namespaces with different interfaces. A physical interface and three
// links make a machine.
var networks = []struct {
	name, script, want string
}{
	{"pod", "", "^$"},
	{"pod-with-a-link", "ip link add eth0 type veth peer name peer", "^$"},
	{"pod-with-many-links", veths(4), "^$"},
	{"pod-with-a-real-interface", realInterface, "^$"},
	{"pod-with-a-real-interface-and-links", realInterface + veths(1), "^$"},
	{"machine-with-many-pods", realInterface + veths(2), `^it holds the interface eth9 and 4 veth interfaces$`},
}

func TestHostNetworkDetection(t *testing.T) {
	t.Parallel()
	for _, tt := range networks {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.sh(tt.script)
			var why string
			s.Do(t, func() (err error) {
				why, err = netutil.LooksLikeHost()
				return err
			})
			if !regexp.MustCompile(tt.want).MatchString(why) {
				t.Errorf("%q, want %s", why, tt.want)
			}
			args := append(flags("-m REDIRECT -i * -b *"), "--ip-family", "ipv4")
			before := s.state()
			if why == "" {
				s.exits(0, args...)
				return
			}
			log := s.exits(1, args...)
			says := "this seems to be the network namespace of a machine and not of a pod: " + why + "; to allow it, pass --allow-host-network"
			if !strings.Contains(log, says) {
				t.Errorf("the log does not say %q:\n%s", says, log)
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("a run that was refused changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestHostNetworkPreviewAndClean: previews and clean are not refused.
func TestHostNetworkPreviewAndClean(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sh(realInterface + veths(2))
	args := append(flags("-m REDIRECT -i * -b *"), "--ip-family", "ipv4")
	before := s.state()
	if out := s.exits(0, append(args, "--dry-run")...); !strings.Contains(out, "-A ISTIO_") {
		t.Errorf("the preview is\n%s", out)
	}
	s.exits(0, append(args, "--allow-host-network")...)
	if !strings.Contains(s.state(), "-A ISTIO_") {
		t.Errorf("--allow-host-network, and no rules:\n%s", s.state())
	}
	s.exits(1, append(args, "--drop-invalid")...)
	s.exits(0, cleanCommand, "--dry-run")
	s.exits(0, cleanCommand)
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("after clean (-want +got):\n%s", diff)
	}
	s.env = append(s.env, "ISTIO_INIT_ALLOW_HOST_NETWORK=true")
	s.exits(0, args...)
}

// TestThisMachineIsRefused runs in the namespace of the tests, with mode NONE, which
// would redirect nothing if the program did not refuse. clean is only previewed: a VM of
// a mesh keeps its rules.
func TestThisMachineIsRefused(t *testing.T) {
	t.Parallel()
	needKernel(t)
	why, err := netutil.LooksLikeHost()
	if err != nil {
		t.Fatal(err)
	}
	if why == "" {
		t.Skip("skipped: the tests do not run in the network namespace of a machine; on one they do without a container")
	}
	ruleset := func() string {
		out, err := exec.CommandContext(t.Context(), "nft", "list", "ruleset").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	tests := []struct {
		want int
		args []string
	}{
		{1, flags("-m NONE")},
		{1, append(flags("-m NONE"), "--reconcile", "--force-apply", "--cni-mode")},
		{1, append(flags("-m NONE"), "--network-namespace", "/proc/self/ns/net")},
		{0, append(flags("-m REDIRECT -i * -b *"), "--dry-run")},
		{0, []string{cleanCommand, "--dry-run"}},
	}
	for _, tt := range tests {
		before := ruleset()
		cmd := exec.CommandContext(t.Context(), built, tt.args...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		log, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tt.want {
			t.Errorf("%s: exit code %d, want %d\n%s", tt.args, code, tt.want, log)
		}
		if tt.want != 0 && !strings.Contains(string(log), why) {
			t.Errorf("%s does not say that %s:\n%s", tt.args, why, log)
		}
		if diff := cmp.Diff(before, ruleset()); diff != "" {
			t.Errorf("%s: rules of this machine (-before +after):\n%s", tt.args, diff)
		}
	}
}
