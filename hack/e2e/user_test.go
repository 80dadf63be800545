package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/test/kernel"
)

// A userCase is a way to give user 1337 its capabilities.
type userCase struct {
	name string
	// start returns functions that run the program in one network namespace: with the
	// capabilities, and without any.
	start func(t *testing.T, caps ...string) (with, without func(args ...string) (string, error))
}

// TestNonRootWithCapabilitiesInTheImage tests both ways in which a platform gives
// capabilities to a user: podman makes them ambient, even with no_new_privs; Kubernetes
// only adds them to the bounding set, so they come from the program's file.
func TestNonRootWithCapabilitiesInTheImage(t *testing.T) {
	needBuilt(t)
	for _, c := range []userCase{{"ambient", byPodman}, {"of-the-file", byFile}} {
		for v, caps := range map[xtables.Variant][]string{xtables.NFT: {"net_admin"}, xtables.Legacy: {"net_admin", "net_raw"}} {
			t.Run(c.name+"/"+v.String(), func(t *testing.T) {
				with, without := c.start(t, caps...)
				apply := []string{"istio-iptables", "-u", "1337", "-i", "*", "-b", "*", "--ip-family", "dual"}
				t.Setenv("FORCE_IPTABLES_BINARY", v.String())
				for _, step := range []struct {
					args []string
					says string // once for each family
				}{
					{apply, "info\trules applied\t"},
					{apply, "info\trules in order, nothing written\t"},
					{[]string{"istio-clean-iptables"}, "info\trules removed\t"},
				} {
					if said, err := with(step.args...); err != nil || strings.Count(said, step.says) != 2 {
						t.Fatalf("%s: %v, want twice %q:\n%s", step.args, err, step.says, said)
					}
				}
				if said, err := without(apply...); err == nil || !strings.Contains(said, "NET_ADMIN") {
					t.Errorf("without capabilities: %v, want that the program names one:\n%s", err, said)
				}
			})
		}
	}
}

// byPodman runs the program in containers of a pod without an init container.
func byPodman(t *testing.T, caps ...string) (with, without func(args ...string) (string, error)) {
	t.Helper()
	const pod = "not-root"
	podman(t, "pod", "create", "--name", pod, "--network", "none")
	t.Cleanup(func() {
		if _, err := runPodman("pod", "rm", "--force", "--time", "0", pod); err != nil {
			t.Error(err)
		}
	})
	run := func(caps ...string) func(args ...string) (string, error) {
		flags := []string{
			"run", "--rm", "--pod", pod, "--user", "1337:1337", "--read-only", "--security-opt", "no-new-privileges",
			"--env", "FORCE_IPTABLES_BINARY", "--cap-drop", "ALL",
		}
		for _, c := range caps {
			flags = append(flags, "--cap-add", c)
		}
		return func(args ...string) (string, error) {
			return podmanSays(slices.Concat(flags, []string{image}, args)...)
		}
	}
	return run(caps...), run()
}

// byFile runs the program with only the file capabilities that are in its bounding set.
func byFile(t *testing.T, caps ...string) (with, without func(args ...string) (string, error)) {
	t.Helper()
	root, ns := unpackedImage(t), kernel.NewNetNS(t)
	bounded := func(caps ...string) func(args ...string) (string, error) {
		// The first three are for chroot(1).
		may := "-all,+sys_chroot,+setuid,+setgid"
		for _, c := range caps {
			may += ",+" + c
		}
		return func(args ...string) (said string, err error) {
			words := slices.Concat([]string{
				"--inh-caps=-all", "--bounding-set=" + may,
				"chroot", "--userspec=1337:1337", "--groups=", root.dir, program,
			}, args)
			ns.Do(t, func() error {
				var out []byte
				out, err = exec.CommandContext(t.Context(), "setpriv", words...).CombinedOutput()
				said = string(out)
				return nil
			})
			return said, err
		}
	}
	return bounded(caps...), bounded()
}
