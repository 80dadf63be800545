package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"istio-init/capture"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
	"istio-init/test/size"
)

// probes are the connections that are made and traced in each case.
const probes = `
app -> ext:80 = direct
app -> ext:9999 = direct
app -> pod:8080 = direct
app -> udp ext:53 = direct
root -> localhost:8080 = direct
proxy -> ext:80 = direct
peer -> pod:8080 = direct
peer -> pod:15020 = direct
vm -> ext:80 = direct
`

// servers are at the destinations to which foreign rules send connections.
const servers = `
peer -> 198.51.100.20:80 = direct
peer -> 198.51.100.20:9999 = direct
peer -> 198.51.100.20:8080 = direct
peer -> 198.51.100.20:15020 = direct
app -> vm:80 = direct
app -> vm:8080 = direct
app -> vm:15020 = direct
app -> pod:80 = direct
app -> pod:9999 = direct
app -> pod:3128 = direct
`

// A certainty counts the answers of trace.
type certainty struct {
	sync.Mutex
	understood, certain int
}

// TestTraceIsNeverCertainAndWrong puts random rules, nftables chains, marks and policy
// routes of others around ours and makes connections. An answer of trace that calls itself
// certain is where the connection goes; where trace understands all rules, it is certain in
// nine of ten.
func TestTraceIsNeverCertainAndWrong(t *testing.T) {
	needKernel(t)
	cases := size.Of(6, 36, 1000)
	if testing.Short() {
		t.Skip("makes connections: run make test")
	}
	grounds := []struct {
		name    string
		variant xtables.Variant
		args    string
	}{
		{"redirect", xtables.NFT, "-m REDIRECT -i * -b * -d 15020"},
		{"legacy-dns", xtables.Legacy, "-m REDIRECT -i * -b * -d 15020 --redirect-dns --capture-all-dns"},
		{"tproxy", xtables.NFT, "-m TPROXY -i * -b * -d 15020"},
	}
	var count certainty
	t.Run("cases", func(t *testing.T) {
		for i, ground := range grounds {
			t.Run(ground.name, func(t *testing.T) {
				t.Parallel()
				g := newGround(t, ground.variant, flags(ground.args))
				for n := i; n < cases; n += len(grounds) {
					g.run(t, n, &count)
				}
			})
		}
	})
	t.Logf("%d of %d answers are certain where trace understands all rules", count.certain, count.understood)
	if count.certain*10 < count.understood*9 {
		t.Errorf("%d of %d answers are certain, want nine of ten", count.certain, count.understood)
	}
}

// A ground is a pod with rules of ours, around which others' come and go.
type ground struct {
	*pod.Pod
	variant xtables.Variant
	config  flow.Config
	save    string
	flows   []flow.Flow
}

func newGround(t *testing.T, v xtables.Variant, args []string) *ground {
	t.Helper()
	args = append(args, "--ip-family", "ipv4")
	config := flow.Config{Captured: []inet.Family{inet.IPv4}}
	config.ApplyDefaults()
	config.DNS.All = slices.Contains(args, "--capture-all-dns")
	if slices.Contains(args, capture.TProxy.String()) {
		config.Mode, config.TProxyMark = capture.TProxy, capture.DefaultTProxyMark
	}
	g := &ground{Pod: pod.New(t, config), variant: v, config: config}
	var err error
	if g.flows, err = flow.Parse(probes); err != nil {
		t.Fatal(err)
	}
	more, err := flow.Parse(servers)
	if err != nil {
		t.Fatal(err)
	}
	g.Serve(t, append(more, g.flows...))
	g.sh(t, "ip link set lo up; "+built+" apply --force-iptables-binary "+v.String()+" '"+strings.Join(args[1:], "' '")+"'")
	g.save = g.sh(t, "iptables-"+v.String()+"-save")
	return g
}

// sh runs a script in the pod.
func (g *ground) sh(t *testing.T, script string) string {
	t.Helper()
	stdout, stderr, err := g.Run(t.Context(), "sh", "-ec", script)
	if err != nil {
		t.Fatalf("%s\n%v: %s", script, err, stderr)
	}
	return stdout
}

func (g *ground) restore(save string) string {
	return "iptables-" + g.variant.String() + "-restore <<'END'\n" + save + "END\n"
}

// run makes the connections of a case and compares them with what trace says.
func (g *ground) run(t *testing.T, n int, count *certainty) {
	t.Helper()
	c := newForeignCase(n)
	script := g.restore(c.around(g.save)) + strings.Join(c.setUp, "\n")
	g.sh(t, script)
	var all sync.WaitGroup
	for _, f := range g.flows {
		all.Go(func() {
			leg, certain, text := g.trace(t, f)
			count.add(c.understood, certain)
			if !certain || leg == nil {
				return
			}
			const soon, late = 250 * time.Millisecond, 2 * time.Second
			saw := g.Ask(f, inet.IPv4, soon)
			if !leg.agrees(f, saw) {
				saw = g.Ask(f, inet.IPv4, late)
			}
			if !leg.agrees(f, saw) {
				t.Errorf("case %d: %s: the connection meets %q, trace says\n%s\nwith\n%s", n, f.Line, saw, text, script)
			}
		})
	}
	all.Wait()
	g.sh(t, g.restore(g.save)+strings.Join(c.tearDown, "\n"))
}

func (c *certainty) add(understood, certain bool) {
	c.Lock()
	defer c.Unlock()
	if understood {
		c.understood++
		if certain {
			c.certain++
		}
	}
}

// A tracedLeg is the first connection of an answer of trace.
type tracedLeg struct {
	Landing  string
	Port     uint16
	Captured bool
	To       string
	Sent     string `json:"redirected_to"`
}

// trace returns what trace says of a flow.
func (g *ground) trace(t *testing.T, f flow.Flow) (leg *tracedLeg, certain bool, text string) {
	t.Helper()
	args := append([]string{"trace", "--force-iptables-binary", g.variant.String(), "--output", "json"}, traceArgs(f.Connection(g.config, inet.IPv4))...)
	stdout, stderr, err := g.Run(t.Context(), built, args...)
	var answer struct {
		Certain bool
		Legs    []tracedLeg
	}
	if err == nil {
		err = json.Unmarshal([]byte(stdout), &answer)
	}
	if err != nil || len(answer.Legs) == 0 {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, stderr)
		return nil, false, stdout
	}
	return &answer.Legs[0], answer.Certain, stdout
}

// agrees reports whether a connection went where trace says, by the first answer that it got.
func (l *tracedLeg) agrees(f flow.Flow, saw string) bool {
	switch l.Landing {
	case "outbound", "inbound", "lookup":
		return strings.HasPrefix(saw, fmt.Sprintf("via %d ", l.Port)) || !l.Captured
	case "direct":
		return saw == "end "+l.To
	case "dropped", "no-route":
		return saw == ""
	case "foreign":
		return strings.HasSuffix(saw, fmt.Sprintf(":%d", l.Port)) || f.Proto.String() == "udp" && saw == ""
	case "elsewhere":
		// A machine gets no packets that have its own address as their source.
		own := f.Who == "vm" && strings.HasPrefix(l.Sent, "10.245.0.1:")
		return saw == "end "+l.Sent || (own || f.Proto.String() == "udp") && saw == ""
	}
	return false
}
