package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/load"
	"istio-init/test/pod"
	"istio-init/test/size"
)

// rounds is the number of rounds of a stress test.
func rounds(all, stress int) int { return size.Of(all, all, stress) }

// A loadStep is a configuration that captures the connections of the load.
type loadStep struct {
	name string
	args string
}

// loadSteps are applied one after the other, repeatedly. They have each kind of change in
// both directions: none, lists, ranges, drop-invalid, DNS, the mode, and several at a time.
var loadSteps = []loadStep{
	{"redirect", "-d 15090,15021,15020"},
	{"the same again", "-d 15090,15021,15020"},
	{"other lists", "-d 15020 -o 9000,9001 -x 10.9.0.0/16,2001:db8:f::/48"},
	{"included lists", "-b 8080,9090 -i 198.51.100.0/24,2001:db8:e::/48 -q 80"},
	{"included ranges", "-b 8080,9090-9095 -i 198.51.100.0/24,203.0.113.0/24,2001:db8:e::/48,2001:db8:c::/48"},
	{"other included ranges", "-b 8080-8081,9090-9095 -i 198.51.0.0/16,203.0.113.0/24,2001:db8:e::/48,2001:db8:d::/48"},
	{"drop-invalid", "--drop-invalid"},
	{"tproxy", "-m TPROXY"},
	{"tproxy, other lists", "-m TPROXY -d 15020 -o 9000 --drop-invalid"},
	{"tproxy, dns", "-m TPROXY --redirect-dns --capture-all-dns"},
	{"redirect, dns", "--redirect-dns --capture-all-dns --drop-invalid"},
	{"redirect", ""},
	{"tproxy of another mark", "-m TPROXY -t 2000 -r 200"},
	{"tproxy", "-m TPROXY -b 8080"},
	{"tproxy, included ranges", "-m TPROXY -b 8080,9090-9095 -i 198.51.100.0/24,203.0.113.0/24,2001:db8:e::/48,2001:db8:c::/48"},
}

// line returns the command line of a step.
func (s loadStep) line() []string {
	args := append([]string{applyCommand, "-u", "1337", "-g", "1337", "--ip-family", "dual"}, strings.Fields(s.args)...)
	for _, all := range []string{"-b", "-i"} {
		if !strings.Contains(s.args, all+" ") {
			args = append(args, all, "*")
		}
	}
	return args
}

// The servers of the load, by the byte that they send.
const (
	sayOutbound = 'o' // the proxy
	sayInbound  = 'i' // the proxy
	sayOutside  = 'e' // a server outside
	sayApp      = 'a' // the app
)

// startLoad starts clients in the pod and outside, and all servers that may get their
// connections. The proxy's sockets are transparent in both modes: during a change both
// modes may be active.
func startLoad(t *testing.T, pod *pod.Pod, timeout time.Duration) *load.Load {
	t.Helper()
	app, proxy, root := flow.Identity{UID: 1000, GID: 1000}, flow.Identity{UID: 1337, GID: 1337}, flow.Identity{}
	running := load.New(t, timeout)
	for _, f := range inet.Families {
		ext := flow.Addr("ext", f)
		pod.Reach(t, ext)
		running.Serve(t, pod.Peer, root, netip.AddrPortFrom(ext, 80), false, sayOutside)
		running.Serve(t, pod.Pod, app, netip.AddrPortFrom(f.Any(), 8080), false, sayApp)
		running.Serve(t, pod.Pod, proxy, netip.AddrPortFrom(f.Any(), 15001), true, sayOutbound)
		running.Serve(t, pod.Pod, proxy, netip.AddrPortFrom(f.Any(), 15006), true, sayInbound)
	}
	const clients = 3
	for n := range clients {
		var out, in []load.Route
		for _, f := range inet.Families {
			out = append(out, load.Route{To: netip.AddrPortFrom(flow.Addr("ext", f), 80)})
			for m := range 2 {
				from := netip.MustParseAddr(fmt.Sprintf([]string{"10.8.%d.%d", "2001:db8:8::%d:%d"}[f], n, m+1))
				pod.Reach(t, from)
				in = append(in, load.Route{From: from, To: netip.AddrPortFrom(flow.Addr("pod", f), 8080)})
			}
		}
		running.Connect(pod.Pod, app, sayOutbound, out...)
		running.Connect(pod.Peer, root, sayInbound, in...)
	}
	return running
}

// newLoadPod returns a pod and a function that runs the program in it.
func newLoadPod(t *testing.T) (*pod.Pod, func(b backend, args ...string)) {
	t.Helper()
	pod := pod.New(t, flow.Config{})
	return pod, func(b backend, args ...string) {
		t.Helper()
		args = in(b, args)
		if _, stderr, err := pod.Run(t.Context(), built, args...); err != nil {
			t.Fatalf("%s %s: %v\n%s", programName, strings.Join(args, " "), err, stderr)
		}
	}
}

// tproxy reports whether inbound connections are captured in that mode.
func (s loadStep) tproxy() bool { return strings.Contains(s.args, "TPROXY") }

// A nextBackend returns the backend for a step, after another one.
type nextBackend func(b backend, before, step loadStep) backend

func sameBackend(b backend, _, _ loadStep) backend { return b }

// otherVariantNext changes the variant. While the rules move
// from one variant to the other, both are active for a moment. With TPROXY in both,
// Istio's rules treat what the other variant has marked as a connection of the proxy to
// the app, and save the mark; then the answers to the peer stay in the pod. So the
// variant does not change between two steps with TPROXY.
func otherVariantNext(b backend, before, step loadStep) backend {
	if before.tproxy() && step.tproxy() {
		return b
	}
	return otherVariant(b.(xtables.Variant))
}

// nativeNext changes between a variant and native, also between two steps with TPROXY.
func nativeNext(v xtables.Variant) nextBackend {
	return func(b backend, _, _ loadStep) backend {
		if b == native {
			return v
		}
		return native
	}
}

// TestStressNoConnectionEscapesOrFailsDuringChange: each configuration captures all
// connections, and so does every moment of a change, also if the backend changes.
func TestStressNoConnectionEscapesOrFailsDuringChange(t *testing.T) {
	needKernel(t)
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) { changeUnderLoad(t, b, sameBackend) })
	}
	t.Run("from-one-variant-to-the-other", func(t *testing.T) { changeUnderLoad(t, xtables.NFT, otherVariantNext) })
	for _, v := range xtables.Variants {
		t.Run("from-and-to-native-"+v.String(), func(t *testing.T) { changeUnderLoad(t, v, nativeNext(v)) })
	}
}

func changeUnderLoad(t *testing.T, b backend, next nextBackend) {
	t.Helper()
	pod, run := newLoadPod(t)
	before := loadSteps[len(loadSteps)-1]
	run(b, before.line()...)
	load := startLoad(t, pod, 30*time.Second)
	atFirst, applies := load.Tally(), 0
	for range rounds(1, 40) {
		for _, step := range loadSteps {
			was := b
			b = next(b, before, step)
			start := load.Tally()
			run(b, step.line()...)
			if seen := load.Tally().Since(start); seen.Escaped+seen.Failures() > 0 {
				t.Logf("while the rules of %q, %s, became those of %q, %s: %s", before.name, was, step.name, b, seen)
			}
			before = step
			applies++
		}
	}
	load.Stop()
	seen := load.Tally().Since(atFirst)
	t.Logf("%d applies, %s", applies, seen)
	if seen.Escaped+seen.Failures() > 0 || seen.Captured == 0 {
		t.Errorf("connections that were not captured: %s", seen)
	}
}

// TestStressConnectionsEscapeBetweenCleanAndApply shows that the test above can fail.
func TestStressConnectionsEscapeBetweenCleanAndApply(t *testing.T) {
	needKernel(t)
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			pod, run := newLoadPod(t)
			run(v, loadSteps[0].line()...)
			load := startLoad(t, pod, time.Second) // some hang, because the rules that redirected them are gone
			for range rounds(2, 10) {
				run(v, cleanCommand)
				run(v, loadSteps[0].line()...)
			}
			load.Stop()
			seen := load.Tally()
			t.Logf("clean, then apply: %s", seen)
			if size.Stress() && seen.Escaped == 0 {
				t.Error("not one connection escaped: this load shows nothing")
			}
		})
	}
}
