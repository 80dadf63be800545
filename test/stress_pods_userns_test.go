package test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// TestPodsInAnotherUserNamespace sets up a pod whose network namespace belongs to another
// user namespace, as with rootless containers. If a network namespace is created before
// its users are mapped, its files have no owner there.
func TestPodsInAnotherUserNamespace(t *testing.T) {
	needKernel(t)
	for _, b := range backends {
		for name, holder := range map[string]userNSHolder{
			"mapped-first":  {flags: syscall.CLONE_NEWUSER, command: []string{"unshare", "--net", "cat"}},
			"network-first": {flags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, command: []string{"cat"}},
		} {
			t.Run(b.String()+"/"+name, func(t *testing.T) {
				t.Parallel()
				inUserNS(t, b, holder.start(t))
			})
		}
	}
}

func inUserNS(t *testing.T, b backend, netns string) {
	t.Helper()
	reference := newSite(t)
	before := stateIn(t, netns, b)
	run := func(line []string) (string, error) {
		args := append(slices.Clone(line), "--cni-mode", "--network-namespace", netns)
		return runIn("", reference.env, built, args...)
	}
	if v, is := b.(xtables.Variant); is {
		refused := newSite(t) // its programs are first in PATH
		refused.wrap(tool(v, inet.IPv6), refuseAll)
		out, err := runIn("", refused.env, built, append(in(v, asTProxy), "--network-namespace", netns)...)
		if err == nil {
			t.Errorf("succeeded though IPv6 was refused:\n%s", out)
		}
		if diff := cmp.Diff(before, stateIn(t, netns, b)); diff != "" {
			t.Errorf("a refused run left something (-before +after):\n%s\n%s", diff, out)
		}
	}
	for i, line := range [][]string{in(b, asRedirect), in(b, asTProxy), in(b, asTProxy), asClean} {
		reference.exits(0, line...)
		out, err := run(line)
		if err != nil {
			t.Fatalf("%v: %v\n%s", line, err, out)
		}
		if diff := cmp.Diff(stateIn(t, reference.Path(), b), stateIn(t, netns, b)); diff != "" {
			t.Errorf("%v: not as in a network namespace of ours (-want +got):\n%s\n%s", line, diff, out)
		}
		if i == 0 {
			usersAreOfTheNamespace(t, netns)
		}
	}
	if diff := cmp.Diff(before, stateIn(t, netns, b)); diff != "" {
		t.Errorf("cleaning left something (-want +got):\n%s", diff)
	}
}

// refusing gives a namespace a way to an address at which every connection is refused, but
// those that are redirected.
const refusing = `ip link add out type veth peer name back
ip addr add 198.51.100.2/24 dev out
ip link set back up
ip link set out up
nft add table ip theirs
nft 'add chain ip theirs output { type filter hook output priority 0; }'
nft add rule ip theirs output ip daddr 198.51.100.1 reject with tcp reset`

// usersAreOfTheNamespace makes connections as users of the pod, whose numbers the node maps to
// others: those of the app are redirected, those of the proxy are not.
func usersAreOfTheNamespace(t *testing.T, netns string) {
	t.Helper()
	if out, err := runIn(netns, os.Environ(), "/bin/sh", "-ec", refusing); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer func() {
		_, _ = runIn(netns, os.Environ(), "/bin/sh", "-c", "ip link del out; nft delete table ip theirs")
	}()
	var proxy net.Listener
	err := netutil.InNetNS(netns, func() (err error) {
		proxy, err = net.Listen("tcp4", "127.0.0.1:15001")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for user, redirected := range map[string]bool{"1000": true, "1337": false} {
		line := []string{
			"--user=" + filepath.Dir(netns) + "/user", "--net=" + netns, "--setuid", user, "--setgid", user,
			"bash", "-c", "exec 3<>/dev/tcp/198.51.100.1/80",
		}
		if out, err := runIn("", os.Environ(), "nsenter", line...); (err == nil) != redirected {
			t.Errorf("user %s: want redirected: %t, got %v: %s", user, redirected, err, out)
		}
	}
}

// TestNativeIsChosenWithoutNsenter: programs of iptables for a pod of another user namespace are
// run inside it by nsenter.
func TestNativeIsChosenWithoutNsenter(t *testing.T) {
	t.Parallel()
	needKernel(t, "nsenter")
	netns := userNSHolder{flags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, command: []string{"cat"}}.start(t)
	const withoutNsenter = `mount --bind /dev/null "$(command -v nsenter)"; exec "$@"`
	line := append([]string{"--mount", "/bin/sh", "-ec", withoutNsenter, "sh", built}, asRedirect...)
	log, err := runIn("", os.Environ(), "unshare", append(line, "--cni-mode", "--network-namespace", netns)...)
	const why = "no variant of iptables is usable: ipv4 nft: the network namespace belongs to another user namespace, which nsenter (package util-linux) enters"
	if err != nil || strings.Count(log, why) != 1 {
		t.Errorf("%v; want one line that says %q:\n%s", err, why, log)
	}
	if !strings.Contains(stateIn(t, netns, native), "--uid-owner 1337") {
		t.Errorf("the rules are not there:\n%s", log)
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
func stateIn(t *testing.T, netns string, b backend) string {
	t.Helper()
	var text bytes.Buffer
	for _, f := range inet.Families {
		fmt.Fprintf(&text, "== %s\n%s", f, savedIn(t, netns, b, f))
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
