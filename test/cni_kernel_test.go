package test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/kernel"
	"istio-init/test/pod"
	"istio-init/test/size"
)

// capturedByCNI are connections of a pod without more annotations than the injector's.
const capturedByCNI = `
peer -> pod:8080        = proxy 15006
peer -> pod:15090       = direct
peer -> pod:15020       = direct
app -> ext:80           = proxy 15001
app -> ext:15020        = direct       # excluded outbound too, as by Istio's plugin
app -> localhost:8080   = direct
1337:1337 -> ext:80     = direct
1337:1337 -> pod:8080   = proxy 15006
app -> udp ext:53       = direct
`

// TestCNICapturesConnections makes connections in a pod after ADD.
func TestCNICapturesConnections(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		flows, err := flow.Parse(capturedByCNI)
		if err != nil {
			t.Fatal(err)
		}
		config := configOf(t, flags("-m REDIRECT -i * -b * -d 15020,15021,15090 -o 15020"))
		p := pod.New(t, config)
		if b == xtables.Legacy {
			for _, program := range []string{"iptables-legacy", "ip6tables-legacy"} {
				if _, stderr, err := p.Run(t.Context(), program, "-A", "INPUT", "-p", "udp", "--dport", "9", "-j", "DROP"); err != nil {
					t.Fatalf("%v: %s", err, stderr)
				}
			}
		}
		a := cniCall{command: cniAdd, netns: p.Pod.Path(), entry: cniEntry(waits(), cniBackend(b, object{"dual-stack": true}))}.succeeds(t)
		if !strings.Contains(a.log, `"backend":"`+b.String()+`"`) {
			t.Errorf("want backend %s: %s", b, a)
		}
		p.Serve(t, flows)
		for _, fl := range flows {
			for _, f := range fl.In(inet.Families[:]) {
				if got, said := p.Observe(fl, f); got != fl.Outcome {
					t.Errorf("%s (%s): on the kernel it is %s, heard %q", fl.Line, f, got, said)
				}
			}
		}
	})
}

// TestCNIAddsAtOnce has many pods that start at the same time.
func TestCNIAddsAtOnce(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		if b == xtables.Legacy && !size.Stress() {
			return
		}
		reference := newCNIPod(t, b)
		entry := cniEntry(waits(), cniBackend(b, object{"ip-family": "dual"}))
		cniCall{command: cniAdd, netns: reference.Path(), entry: entry}.succeeds(t)
		node := &node{t: t}
		pods := make([]*site, rounds(manyPods/5, manyPods))
		spaces := make([]*kernel.NetNS, len(pods))
		for i := range pods {
			pods[i] = newCNIPod(t, b)
			spaces[i] = pods[i].NetNS
		}
		node.forEach(spaces, len(spaces), func(pod *kernel.NetNS) *exec.Cmd {
			return cniCall{command: cniAdd, netns: pod.Path(), entry: entry}.cmd(t)
		})
		want := reference.see().String()
		for i, pod := range pods {
			if size.Stress() || i%10 == 0 {
				if diff := cmp.Diff(want, pod.see().String()); diff != "" {
					t.Errorf("pod %d (-want +got):\n%s", i, diff)
				}
			}
		}
	})
}

// TestKilledCNIAddLeavesNothingHalf kills an ADD before each of its relevant system calls, in
// make test before some. Each table is there as a whole or not at all, and the next ADD makes all.
func TestKilledCNIAddLeavesNothingHalf(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		if b == xtables.Legacy && !size.Stress() {
			return
		}
		node := newSite(t) // the plugin does not run in the namespace of its pod
		s := newCNIPod(t, b)
		call := cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(waits("proxy.istio.io/config", `proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}`), cniBackend(b, object{"ip-family": "dual"}))}
		before := s.see()
		call.succeeds(t)
		after := s.see()
		was, will := configOf(t, asClean), configOf(t, flags("-i * -b * -d 15020,15021,15090 -o 15020 --redirect-dns --capture-all-dns"))
		for _, who := range []victims{everybody, asked} {
			n := 1
			for ; ; n += rounds(5, 1) {
				s.exits(0, asClean...)
				if diff := cmp.Diff(before.String(), s.see().String()); diff != "" {
					t.Fatalf("cannot begin anew (-before +now):\n%s", diff)
				}
				tr := &tracer{n: n, victims: who}
				exit, said, err := tr.run(node.Path(), call.cmd(t))
				if err != nil {
					t.Fatal(err)
				}
				if tr.killed == "" {
					if exit != 0 {
						t.Errorf("an ADD that was not killed: exit code %d\n%s", exit, said)
					}
					break
				}
				left := s.see()
				for _, wrong := range left.between(t, before, after, was, will) {
					t.Errorf("killed %s: %s\n%s", tr.killed, wrong, said)
				}
				whole := map[bool]liveState{true: after, false: before}[exit == 0]
				if diff := cmp.Diff(whole.String(), left.String()); who == asked && diff != "" {
					t.Errorf("killed %s: exit code %d, and (-want +got):\n%s\n%s", tr.killed, exit, diff, said)
				}
				call.succeeds(t)
				if diff := cmp.Diff(after.String(), s.see().String()); diff != "" {
					t.Errorf("killed %s: the next ADD (-want +got):\n%s", tr.killed, diff)
				}
			}
			if n < 3 {
				t.Errorf("%s: a whole ADD has less than %d calls that matter", who, n)
			}
		}
	})
}

// TestCNIAddInAnotherUserNamespace has a pod with hostUsers: false: rules are made from outside.
func TestCNIAddInAnotherUserNamespace(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		if b == xtables.Legacy {
			return // it has no rules there by which it would be chosen
		}
		netns := userNSHolder{flags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, command: []string{"cat"}}.start(t)
		call := cniCall{command: cniAdd, netns: netns, entry: cniEntry(waits(), cniBackend(b, object{"ip-family": "dual"}))}
		call.succeeds(t)
		call.command = cniCheck
		call.succeeds(t)
		reference := newSite(t)
		reference.exits(0, in(b, strings.Fields("apply -m REDIRECT -i * -b * -d 15020,15021,15090 -o 15020 -u 1337 -g 1337 --ip-family dual"))...)
		dump := func(path string) string {
			if b == xtables.NFT {
				return stateIn(t, path, xtables.NFT)
			}
			out, err := runIn(path, os.Environ(), "nft", "list", "ruleset")
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return out
		}
		if diff := cmp.Diff(dump(reference.Path()), dump(netns)); diff != "" {
			t.Errorf("not the rules of a pod of ours (-want +got):\n%s", diff)
		}
	})
}
