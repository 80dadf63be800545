// Package kernel gives tests their own network namespaces, and skips tests on machines
// that have none.
//
// A test states its requirements with [Need] or [NeedVariant], which skip it and say what
// is missing. With the environment variable KERNEL_TESTS=require a skip is a failure,
// with KERNEL_TESTS=skip all these tests are skipped.
//
//	kernel.NeedVariant(t, xtables.NFT)
//	ns := kernel.NewNetNS(t)
//	ns.Run(t, script, "iptables-nft-restore", "--noflush")
//	got := ns.Save(t, xtables.NFT, inet.IPv4)
//
// A NetNS may be used from any goroutine and from parallel tests: what runs in it
// runs on a thread of its own.
package kernel

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
	"sync"
	"testing"

	"github.com/vishvananda/netns"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// Need skips the test unless it runs as root, where a network namespace can be made,
// and the programs are installed. With the environment variable KERNEL_TESTS=require
// it fails instead.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	if lack := Lack(programs...); lack != "" {
		skip(t, lack)
	}
}

// Lack returns why [Need] would skip a test; "" if nothing is missing.
func Lack(programs ...string) string {
	if os.Getenv("KERNEL_TESTS") == "skip" {
		return "KERNEL_TESTS=skip"
	}
	if os.Geteuid() != 0 {
		return "it needs root: sudo env PATH=$PATH make test"
	}
	if err := namespaces(); err != nil {
		return fmt.Sprintf("no network namespace can be made (needs CAP_SYS_ADMIN): %v", err)
	}
	return LackPrograms(programs...)
}

// LackPrograms returns which program, or file of one, is not installed; "" if all are.
func LackPrograms(programs ...string) string {
	for _, name := range programs {
		if _, err := find(name); err != nil {
			return fmt.Sprintf("the program %s is not installed: hack/setup installs what the tests need", name)
		}
		if _, err := os.Stat("/etc/protocols"); name == "nft" && err != nil {
			return "nft prints numbers instead of the names of protocols: the package netbase is not installed"
		}
	}
	return ""
}

// NeedPrograms is [Need] for a test that needs only programs, not root.
func NeedPrograms(t testing.TB, programs ...string) {
	t.Helper()
	if lack := LackPrograms(programs...); lack != "" {
		skip(t, lack)
	}
}

// namespaces returns why no network namespace can be created.
var namespaces = sync.OnceValue(func() error {
	n, err := newNetNS()
	if err == nil {
		err = n.handle.Close()
	}
	return err
})

// Required reports whether a kernel test must not be skipped.
func Required() bool { return os.Getenv("KERNEL_TESTS") == "require" }

// NeedVariant is [Need] for the save and restore programs of a variant, in both
// families, and for a kernel that has it.
func NeedVariant(t testing.TB, v xtables.Variant) {
	t.Helper()
	for _, f := range inet.Families {
		Need(t, program(v, f, "save"), program(v, f, "restore"))
	}
	if err := has(t, v); err != nil {
		skip(t, fmt.Sprintf("the kernel has no iptables of the variant %s: %v", v, err))
	}
}

// has returns why the kernel does not have a variant.
func has(t testing.TB, v xtables.Variant) error {
	t.Helper()
	ns := NewNetNS(t)
	for _, f := range inet.Families {
		if _, err := ns.Try(t, "*nat\nCOMMIT\n", program(v, f, "restore"), "--noflush"); err != nil {
			return err
		}
	}
	return nil
}

func skip(t testing.TB, lack string) {
	t.Helper()
	if Required() {
		t.Fatal("KERNEL_TESTS=require: " + lack)
	}
	t.Skip("skipped: " + lack)
}

// A NetNS is a network namespace for one test. Only a file descriptor of the test holds
// it, so it is removed even if the test is killed.
type NetNS struct{ handle netns.NsHandle }

// NewNetNS makes a network namespace in which no interface is up, not even lo. It skips or
// fails like [Need] if that is not possible.
func NewNetNS(t testing.TB) *NetNS {
	t.Helper()
	Need(t)
	n, err := newNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.handle.Close() })
	return n
}

// newNetNS makes the namespace on a thread that ends with its goroutine, as it is
// not unlocked: it is in the new namespace then.
func newNetNS() (*NetNS, error) {
	made, n := make(chan error), &NetNS{}
	go func() {
		runtime.LockOSThread()
		var err error
		n.handle, err = netns.New()
		made <- err
	}()
	return n, <-made
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

// Run runs a program inside the namespace and returns its stdout; the test ends if it
// fails.
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
		// A separate lock for the legacy variant, not that of the machine.
		cmd.Env = append(os.Environ(), "LC_ALL=C", "XTABLES_LOCKFILE=/proc/self/ns/net")
		return cmd.Run()
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), err
}

// Restore runs iptables-restore --noflush with a script.
func (n *NetNS) Restore(t testing.TB, v xtables.Variant, f inet.Family, script string) error {
	t.Helper()
	_, err := n.Try(t, script, program(v, f, "restore"), "--noflush")
	return err
}

// Save returns what iptables-save prints, made [Plain].
func (n *NetNS) Save(t testing.TB, v xtables.Variant, f inet.Family) string {
	t.Helper()
	return Plain(n.Run(t, "", program(v, f, "save")))
}

var (
	comments      = regexp.MustCompile(`(?m)^#.*\n`)
	chainCounters = regexp.MustCompile(`(?m)^(:\S+ \S+) \[\d+:\d+\]$`)
	ruleCounters  = regexp.MustCompile(`(?m)^\[\d+:\d+\] `)
)

// Plain normalizes an output of iptables-save: without comments and counters of rules,
// with [0:0] as the counters of chains, and with the tables sorted by name, because their
// order depends on which was used first.
func Plain(save string) string {
	save = comments.ReplaceAllString(save, "")
	save = ruleCounters.ReplaceAllString(chainCounters.ReplaceAllString(save, "$1 [0:0]"), "")
	tables := strings.SplitAfter(save, "\nCOMMIT\n")
	slices.Sort(tables)
	return strings.Join(tables, "")
}

// program names the tool that saves or restores.
func program(v xtables.Variant, f inet.Family, what string) string {
	return strings.TrimSuffix(xtables.SaveTool(f), "save") + v.String() + "-" + what
}

// find returns the path of a program, even if PATH has no system directories.
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
