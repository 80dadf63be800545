package test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"istio-init/iptables"
	"istio-init/test/flow"
	"istio-init/test/kernel"
	"istio-init/test/load"
	"istio-init/test/pod"
)

// connectsAtOnce is how many connections are made with one set of rules before it
// is the turn of the next.
const connectsAtOnce = 1500

// A wired is a pod with rules, in which connections are made.
type wired struct {
	name    string
	pod     *pod.Pod
	in, out []time.Duration
}

// outside is what connections go to: between prefixes of the long list, so that
// they have the longest way through it.
func outside() netip.AddrPort { return netip.MustParseAddrPort("10.20.101.7:80") }

// newWired makes a pod whose proxy takes every connection and is silent.
func newWired(b *testing.B, name string) *wired {
	b.Helper()
	w := &wired{name: name, pod: pod.New(b, flow.Config{})}
	proxy, app := flow.Identity{UID: 1337, GID: 1337}, flow.Identity{UID: 1000, GID: 1000}
	w.pod.Reach(b, outside().Addr())
	for _, s := range []struct {
		node *pod.Node
		who  flow.Identity
		at   netip.AddrPort
	}{
		{w.pod.Pod, proxy, netip.MustParseAddrPort("0.0.0.0:15001")},
		{w.pod.Pod, proxy, netip.MustParseAddrPort("0.0.0.0:15006")},
		{w.pod.Pod, app, netip.MustParseAddrPort("0.0.0.0:8080")},
		{w.pod.Peer, flow.Identity{}, outside()},
	} {
		listener := s.node.Listen(b, s.who, s.at, false)
		go func() {
			for {
				conn, err := listener.AcceptTCP()
				if err != nil {
					return // closed, at the end
				}
				_ = conn.Close()
			}
		}()
	}
	return w
}

// connect makes connections out of the pod and into it.
func (w *wired) connect(b *testing.B) {
	b.Helper()
	for _, way := range []struct {
		took *[]time.Duration
		node *pod.Node
		who  flow.Identity
		to   netip.AddrPort
	}{
		{&w.out, w.pod.Pod, flow.Identity{UID: 1000, GID: 1000}, outside()},
		{&w.in, w.pod.Peer, flow.Identity{}, netip.AddrPortFrom(flow.Addr("pod", iptables.IPv4), 8080)},
	} {
		took, err := load.Latencies(way.node, way.who, way.to, connectsAtOnce)
		if err != nil {
			b.Fatalf("%s: %v", w.name, err)
		}
		*way.took = append(*way.took, took...)
	}
}

// istioText are the rules of the current Istio, as it gives them to iptables.
func istioText(b *testing.B) string {
	b.Helper()
	archive, err := txtar.ParseFile(testdata + "/takeover/current.txtar")
	if err != nil {
		b.Fatal(err)
	}
	i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "both" })
	return string(archive.Files[i].Data)
}

// BenchmarkConnect tells what rules cost each new connection, out of the pod and
// into it: "of-istio" is what the default rules take of those of Istio, all else
// how often rules take what the default rules do. "none" has no rules.
func BenchmarkConnect(b *testing.B) {
	lists := []struct {
		name string
		of   grown
		n    int
	}{
		{"5000-excluded-prefixes", grownLists[0], 5000},
		{"500-excluded-ports-out", grownLists[2], 500},
		{"500-excluded-ports-in", grownLists[3], 500},
	}
	program := released(b, source)
	for _, v := range iptables.Variants {
		b.Run(v.String(), func(b *testing.B) {
			kernel.NeedVariant(b, v)
			run := func(name string, line []string) *wired {
				w := newWired(b, name)
				if _, said, err := w.pod.Run(b.Context(), program, line...); err != nil {
					b.Fatalf("%v\n%s", err, said)
				}
				return w
			}
			pods := []*wired{
				run("default", in(v, flags("-m REDIRECT -i * -b * -d 15090,15021,15020"))),
				newWired(b, "istio"), newWired(b, "none"),
			}
			pods[1].restore(b, v, istioText(b))
			for _, list := range lists {
				pods = append(pods, run(list.name, list.of.line(v, 0, list.n)))
			}
			for b.Loop() {
				for _, w := range pods {
					w.connect(b)
				}
			}
			report := func(way string, of func(*wired) []time.Duration) {
				base := median(of(pods[0]))
				b.ReportMetric(float64(base)/1000, way+"-default-us")
				b.ReportMetric(float64(base)/float64(median(of(pods[1]))), way+"-of-istio")
				for _, w := range pods[2:] {
					b.ReportMetric(float64(median(of(w)))/float64(base), way+"-"+w.name)
				}
			}
			b.ReportMetric(0, "ns/op")
			report("out", func(w *wired) []time.Duration { return w.out })
			report("in", func(w *wired) []time.Duration { return w.in })
		})
	}
}

// restore gives a text to iptables-restore inside the pod.
func (w *wired) restore(b *testing.B, v iptables.Variant, text string) {
	b.Helper()
	const feed = `printf %s "$1" | "$2" --noflush`
	if _, said, err := w.pod.Run(b.Context(), "/bin/sh", "-c", feed, "sh", text, tool(v, iptables.IPv4)); err != nil {
		b.Fatalf("%v: %s", err, said)
	}
}
