package test

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/test/kernel"
)

// onNode runs a program on a node with remote users: nsswitch.conf names a service, and
// nscd answers. Mounts are shared, as on a node, so a mount that propagates is detected:
// the list of mounts must not change. Those of named network namespaces end in all mount
// namespaces when another test removes the name.
const onNode = `
mounts() { grep -v ' - nsfs ' /proc/self/mountinfo; }
mount --make-rshared /
mount -t tmpfs tmpfs /var/run
mkdir /var/run/nscd
mount --bind "$1" /var/run/nscd
printf 'passwd: files probe\ngroup: files probe\n' >"$1/nsswitch.conf"
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
mounts >"$1/before"
trace=$1/trace
shift
strace -f -o "$trace" -e trace=execve,openat,connect,mount "$@"
mounts | diff "${trace%/*}/before" -
`

// A directory is the name service of a node.
type directory struct{ dir string }

// newDirectory listens as nscd does, and closes each connection.
func newDirectory(t *testing.T) *directory {
	t.Helper()
	dir, err := os.MkdirTemp("", "nscd") //nolint:usetesting // the path of a socket has at most 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	socket, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		for {
			asker, err := socket.Accept()
			if err != nil {
				return
			}
			asker.Close()
		}
	}()
	return &directory{dir: dir}
}

// asked reports which name services a program and its children used.
func (d *directory) asked(t *testing.T) (service, nscd bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`execve\("[^"]*-restore"`).Match(text) {
		t.Errorf("no rules were restored:\n%s", text)
	}
	return strings.Contains(string(text), "libnss_probe"), regexp.MustCompile(`/nscd/socket"\}, \d+\) = 0\n`).Match(text)
}

// TestCNIModeDoesNotUseNameServicesOfTheNode traces all processes of a run.
func TestCNIModeDoesNotUseNameServicesOfTheNode(t *testing.T) {
	t.Parallel()
	needKernel(t)
	kernel.Need(t, "strace", "unshare", "setpriv")
	pod := func(t *testing.T) string { return newSite(t).Path() }
	userNSPod := func(t *testing.T) string {
		return userNSHolder{flags: syscall.CLONE_NEWUSER, command: []string{"unshare", "--net", "cat"}}.start(t)
	}
	tests := []struct {
		name    string
		netns   func(*testing.T) string
		outside bool // the program enters the namespace
		before  []string
		args    []string
		asked   bool
	}{
		{name: "in-the-pod", netns: pod, asked: true},
		{name: "from-the-node", netns: pod, outside: true, args: []string{"--cni-mode"}},
		{name: "from-the-node-in-the-namespace", netns: pod, args: []string{"--cni-mode"}},
		{name: "from-the-node-of-another-user-namespace", netns: userNSPod, outside: true, args: []string{"--cni-mode"}},
		{name: "without-sys-admin", netns: pod, before: []string{"setpriv", "--bounding-set=-sys_admin"}, args: []string{"--cni-mode"}, asked: true},
	}
	for _, v := range xtables.Variants {
		for _, tt := range tests {
			t.Run(v.String()+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				node, netns := newDirectory(t), tt.netns(t)
				line := slices.Concat(tt.before, []string{built}, in(v, asRedirect), tt.args, []string{"--log_output_level", "debug"})
				where := netns
				if tt.outside {
					line, where = append(line, "--network-namespace", netns), ""
				}
				out, err := runIn(where, os.Environ(), "unshare", append([]string{"--mount", "/bin/sh", "-ec", onNode, "sh", node.dir}, line...)...)
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				service, nscd := node.asked(t)
				if service != tt.asked || nscd && !tt.asked { // glibc may be built without nscd
					t.Errorf("want asked: %t; the service was: %t, nscd was: %t\n%s", tt.asked, service, nscd, out)
				}
				if said := strings.Contains(out, "debug\tNSS of the node is not bypassed"); said != (tt.asked && tt.args != nil) {
					t.Errorf("says that they may be asked: %t\n%s", said, out)
				}
				if !strings.Contains(stateIn(t, netns, v), "--uid-owner 1337") {
					t.Errorf("the rules are not there:\n%s", out)
				}
			})
		}
	}
}
