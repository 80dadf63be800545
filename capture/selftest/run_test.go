package selftest

import (
	"context"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// silent is a namespace in which packets to outside get no answer, and in which
// there are the rules of a config, or none.
func silent(t *testing.T, rules ...iptables.Ruleset) *kernel.NetNS {
	t.Helper()
	kernel.Need(t, "ip")
	ns := kernel.NewNetNS(t)
	for _, command := range []string{
		"link set lo up", "link add eth0 type veth peer name eth1", "link set eth1 up", "link set eth0 up", "addr add 10.244.0.2/24 dev eth0",
		"neigh add 10.244.0.1 lladdr 02:00:00:00:00:01 dev eth0", "route add default via 10.244.0.1",
	} {
		ns.Run(t, "", "ip", strings.Fields(command)...)
	}
	for _, rs := range rules {
		if err := ns.Restore(t, xtables.NFT, rs.Family, rs.String()); err != nil {
			t.Fatal(err)
		}
	}
	return ns
}

// prove runs a plan for a config in a namespace.
func prove(ctx context.Context, t *testing.T, ns *kernel.NetNS, c capture.Config) (results []Result) {
	t.Helper()
	ns.Do(t, func() error {
		powers, err := netutil.SocketPowers()
		here := Environment{Addr: netip.MustParseAddr("10.244.0.2"), PathTo: netutil.PathTo, Powers: powers}
		results = Run(ctx, Prepare(c, inet.IPv4, 15002, here))
		return err
	})
	return results
}

// openFiles counts the files that the process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// Not parallel: it counts what the whole process has.
func TestRunLeavesNoSocketAndNoGoroutine(t *testing.T) {
	c := sidecar(func(c *capture.Config) { c.DNS.All = true })
	right, wrong := silent(t, capture.Rules(c, inet.IPv4)), silent(t)
	_ = prove(t.Context(), t, right, c) // what the runtime opens once is open then
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 3 {
		if err := Verdict(prove(t.Context(), t, right, c)); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := Verdict(prove(ctx, t, wrong, c)); err == nil {
			t.Error("without rules nothing failed")
		}
		cancel()
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d files are open, %d were", n, files)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(deadline) { // one that has just ended may still be counted
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d were:\n%s", runtime.NumGoroutine(), goroutines, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestRunEndsWithItsContext cancels one that waits for what never comes. Had it not
// ended by that, TCP would have given up, and not in time.
func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ns := silent(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	results := prove(ctx, t, ns, sidecar(nil))
	if first := results[0]; first.Outcome != Failed || first.Saw != "reached no port of the proxy in time" {
		t.Errorf("%s: %s, saw %q", first.Name, first.Outcome, first.Saw)
	}
}

// TestRunWithEndedContextChecksNothing has no time for any connection.
func TestRunWithEndedContextChecksNothing(t *testing.T) {
	t.Parallel()
	c := sidecar(nil)
	ns := silent(t, capture.Rules(c, inet.IPv4))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range prove(ctx, t, ns, c) {
		if r.Outcome == Passed {
			t.Errorf("%s: passed", r.Name)
		}
	}
}
