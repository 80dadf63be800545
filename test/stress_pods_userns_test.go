package test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// TestPodsInAnotherUserNamespace sets up a pod whose network namespace belongs to another
// user namespace, as with rootless containers. If a network namespace is created before
// its users are mapped, its files have no owner there.
func TestPodsInAnotherUserNamespace(t *testing.T) {
	needKernel(t)
	for _, v := range xtables.Variants {
		for name, holder := range map[string]userNSHolder{
			"mapped-first":  {flags: syscall.CLONE_NEWUSER, command: []string{"unshare", "--net", "cat"}},
			"network-first": {flags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, command: []string{"cat"}},
		} {
			t.Run(v.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				inUserNS(t, v, holder.start(t))
			})
		}
	}
}

func inUserNS(t *testing.T, v xtables.Variant, netns string) {
	t.Helper()
	reference := newSite(t)
	before := stateIn(t, netns, v)
	run := func(line []string) (string, error) {
		args := append(slices.Clone(line), "--cni-mode", "--network-namespace", netns)
		return runIn("", reference.env, built, args...)
	}
	refused := newSite(t) // its programs are first in PATH
	refused.wrap(tool(v, inet.IPv6), refuseAll)
	out, err := runIn("", refused.env, built, append(in(v, asTProxy), "--network-namespace", netns)...)
	if err == nil {
		t.Errorf("succeeded though IPv6 was refused:\n%s", out)
	}
	if diff := cmp.Diff(before, stateIn(t, netns, v)); diff != "" {
		t.Errorf("a refused run left something (-before +after):\n%s\n%s", diff, out)
	}
	for _, line := range [][]string{in(v, asRedirect), in(v, asTProxy), in(v, asTProxy), asClean} {
		reference.exits(0, line...)
		out, err := run(line)
		if err != nil {
			t.Fatalf("%v: %v\n%s", line, err, out)
		}
		if diff := cmp.Diff(stateIn(t, reference.Path(), v), stateIn(t, netns, v)); diff != "" {
			t.Errorf("%v: not as in a network namespace of ours (-want +got):\n%s\n%s", line, diff, out)
		}
	}
	if diff := cmp.Diff(before, stateIn(t, netns, v)); diff != "" {
		t.Errorf("cleaning left something (-want +got):\n%s", diff)
	}
}

// A userNSHolder is a process that holds a network namespace of another user
// namespace, until its input ends.
type userNSHolder struct {
	flags   uintptr
	command []string // ends as cat
}

// start returns the file of the network namespace, in which lo is up.
func (h userNSHolder) start(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(h.command[0], h.command[1:]...)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: h.flags, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, // root there
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("make a user namespace: %v", err)
	}
	t.Cleanup(func() {
		input.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if _, err := io.WriteString(input, "!"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, 1)); err != nil { // it is cat now
		t.Fatal(err)
	}
	netns := fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid)
	if out, err := runIn(netns, os.Environ(), "ip", "link", "set", "lo", "up"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return netns
}

// stateIn returns the state of a network namespace.
func stateIn(t *testing.T, netns string, v xtables.Variant) string {
	t.Helper()
	var text bytes.Buffer
	for _, f := range inet.Families {
		out, err := runIn(netns, os.Environ(), strings.TrimSuffix(tool(v, f), "-restore")+"-save")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		fmt.Fprintf(&text, "== %s\n%s", f, heldText(kernel.Plain(out)))
	}
	for _, what := range []string{"-4 rule", "-6 rule", "-4 route show table all type local default", "-6 route show table all type local default", "addr show lo"} {
		out, err := runIn(netns, os.Environ(), "ip", strings.Fields(what)...)
		if err != nil {
			t.Fatalf("ip %s: %v: %s", what, err, out)
		}
		_, _ = io.WriteString(&text, rulePriority.ReplaceAllString(out, ""))
	}
	return text.String()
}
