package iptablestest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"istio-init/iptables"
	"istio-init/netutil"
)

// Require skips the test unless it runs as root and the programs are installed.
// With the environment variable KERNEL_TESTS=require it fails instead.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "it needs root: sudo go test -run '%s' ./...", t.Name())
	}
	for _, name := range programs {
		if _, err := find(name); err != nil {
			skip(t, "the program %s is not installed: apt-get install iptables iproute2 nftables", name)
		}
	}
}

// RequireVariant is [Require] for the save and restore programs of a variant, in
// both families, and for a kernel that has it.
func RequireVariant(t testing.TB, v iptables.Variant) {
	t.Helper()
	for _, f := range iptables.Families {
		Require(t, program(v, f, "save"), program(v, f, "restore"))
	}
	ns := NewNetNS(t)
	for _, f := range iptables.Families {
		if _, err := ns.Try(t, "*nat\nCOMMIT\n", program(v, f, "restore"), "--noflush"); err != nil {
			skip(t, "the kernel has no iptables of the variant %s: %v", v, err)
		}
	}
}

func skip(t testing.TB, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf("this test changes the rules of a throw-away network namespace, and "+format, args...)
	if os.Getenv("KERNEL_TESTS") == "require" {
		t.Fatal("KERNEL_TESTS=require: " + why)
	}
	t.Skip(why)
}

// A NetNS is a network namespace that nobody else uses. It ends with the test
// that made it, however that ends: only a file descriptor of the test holds it.
type NetNS struct{ handle netns.NsHandle }

// NewNetNS makes a network namespace in which nothing is set up, not even lo. It
// skips or fails as [Require] does where none can be made.
func NewNetNS(t testing.TB) *NetNS {
	t.Helper()
	Require(t)
	n := &NetNS{}
	made := make(chan error)
	go func() { made <- n.make() }()
	if err := <-made; err != nil {
		skip(t, "no network namespace can be made (needs CAP_SYS_ADMIN): %v", err)
	}
	t.Cleanup(func() { n.handle.Close() })
	return n
}

// make makes the namespace on a thread that is back, or ends, when it returns.
func (n *NetNS) make() error {
	runtime.LockOSThread() // unlocked only once the thread is back
	home, err := netns.Get()
	if err != nil {
		return err
	}
	defer home.Close()
	if n.handle, err = netns.New(); err != nil {
		return err
	}
	if err = netns.Set(home); err == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// Path returns the file of the namespace, for this process and others that root
// starts, as long as the test runs.
func (n *NetNS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(n.handle)) }

// Do calls fn inside the namespace, as [netutil.InNetNS] does; the test ends when
// it returns an error.
func (n *NetNS) Do(t testing.TB, fn func() error) {
	t.Helper()
	if err := netutil.InNetNS(n.Path(), fn); err != nil {
		t.Fatal(err)
	}
}

// Run runs a program inside the namespace and returns what it prints on stdout;
// the test ends when it fails.
func (n *NetNS) Run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	stdout, err := n.Try(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%v\ninput:\n%s", err, stdin)
	}
	return stdout
}

// Try is [NetNS.Run] for a program that may fail; the error has its stderr.
func (n *NetNS) Try(t testing.TB, stdin, name string, args ...string) (stdout string, err error) {
	t.Helper()
	path, err := find(name)
	if err != nil {
		return "", err
	}
	var out, errOut bytes.Buffer
	err = netutil.InNetNS(n.Path(), func() error {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
		// The lock of the legacy variant need not be shared with the machine's.
		cmd.Env = append(os.Environ(), "LC_ALL=C", "XTABLES_LOCKFILE=/proc/self/ns/net")
		return cmd.Run()
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), err
}

// Restore gives a script to iptables-restore --noflush.
func (n *NetNS) Restore(t testing.TB, v iptables.Variant, f iptables.Family, script string) error {
	t.Helper()
	_, err := n.Try(t, script, program(v, f, "restore"), "--noflush")
	return err
}

// Save returns what iptables-save prints, made [Plain].
func (n *NetNS) Save(t testing.TB, v iptables.Variant, f iptables.Family) string {
	t.Helper()
	return Plain(n.Run(t, "", program(v, f, "save")))
}

var (
	comments      = regexp.MustCompile(`(?m)^#.*\n`)
	chainCounters = regexp.MustCompile(`(?m)^(:\S+ \S+) \[\d+:\d+\]$`)
	ruleCounters  = regexp.MustCompile(`(?m)^\[\d+:\d+\] `)
)

// Plain returns a text of iptables-save less what says nothing about rules:
// comments and the counters of rules are gone, those of chains are [0:0], and the
// tables, whose order depends on which was used first, stand by name.
func Plain(save string) string {
	save = comments.ReplaceAllString(save, "")
	save = ruleCounters.ReplaceAllString(chainCounters.ReplaceAllString(save, "$1 [0:0]"), "")
	tables := strings.SplitAfter(save, "\nCOMMIT\n")
	slices.Sort(tables)
	return strings.Join(tables, "")
}

// program names the tool that saves or restores.
func program(v iptables.Variant, f iptables.Family, what string) string {
	return strings.TrimSuffix(iptables.SaveTool(f), "save") + v.String() + "-" + what
}

// find returns the path of a program, also of a system program where PATH leaves
// those out.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}
