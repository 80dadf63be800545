package test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/istio"
	"istio-init/test/pod"
	"istio-init/test/size"
)

// TestRandomConfigurationsLandAlikeInEveryBackend applies random configurations, and makes
// random connections. Each run moves the rules from one backend to the next.
func TestRandomConfigurationsLandAlikeInEveryBackend(t *testing.T) {
	needKernel(t)
	const each = 10 // configurations of a pod
	for seed := range uint64(size.Of(1, 2, 200)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			newRandomPod(t, seed).try(t, each)
		})
	}
}

// A randomPod is a pod for random configurations. Its proxy stays the same.
type randomPod struct {
	*pod.Pod
	rng   *rand.Rand
	proxy capture.Config
	flows []flow.Flow // that a configuration may be tried with
}

func newRandomPod(t *testing.T, seed uint64) *randomPod {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 20)) //nolint:gosec // the same ones every time
	p := &randomPod{rng: rng, proxy: istio.RandomConfig(rng, false)}
	p.Pod = pod.New(t, flow.Config{Config: p.proxy, Captured: inet.Families[:]})
	for range 100 {
		flows, err := flow.Parse(randomFlow(rng))
		if err != nil {
			t.Fatal(err)
		}
		p.flows = append(p.flows, flows...)
	}
	p.Serve(t, p.flows)
	return p
}

// randomFlow returns a line of a truth table. What it says of the outcome has no effect.
func randomFlow(rng *rand.Rand) string {
	who := istio.OneOf(rng, "app", "app", "app from 127.0.0.6", "proxy", "proxy from 127.0.0.6", "root", "3:2", "1200:5", "1000:2", "peer", "peer", "vm")
	host := istio.OneOf(rng, "ext", "ext", "peer", "vm", "pod", "pod", "pod2", "localhost", "10.1.2.3", "10.9.9.9", "127.1.2.3", "127.0.0.53", "2001:db8::53", "2001:db8:1::1")
	if who == "peer" || who == "vm" {
		host = istio.OneOf(rng, "pod", "pod", "pod2", "ext", "vm")
		if host == who || who == "peer" && host == "ext" {
			host = "pod"
		}
	}
	if strings.HasSuffix(who, "127.0.0.6") {
		host = istio.OneOf(rng, "pod4", "pod24", "localhost4", "127.1.2.3")
	}
	proto := istio.OneOf(rng, "", "", "", "udp ")
	return fmt.Sprintf("%s -> %s%s = direct", who, proto, hostPort(host, istio.OneOf[uint16](rng, 53, 53, 80, 85, 8080, 15008, 1500, 40000)))
}

func hostPort(host string, port uint16) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// config returns a random configuration for the proxy of the pod.
func (p *randomPod) config() capture.Config {
	c := istio.WithoutRepeats(istio.RandomConfig(p.rng, false))
	of := p.proxy
	c.Mode, c.ProxyPort, c.InboundPort, c.ProxyUIDs, c.ProxyGIDs, c.TProxyMark, c.DNS = of.Mode, of.ProxyPort, of.InboundPort, of.ProxyUIDs, of.ProxyGIDs, of.TProxyMark, of.DNS
	if c.Generation == capture.Istio1_0 && (c.Mode == capture.TProxy || c.DNS.Captures()) {
		c.Generation = capture.Current
	}
	return c
}

// flagsOf returns the flags and variables of an apply that makes the rules of a configuration.
func flagsOf(c capture.Config) (args, env []string) {
	args = []string{
		"--dual-stack", "-p", fmt.Sprint(c.ProxyPort), "-z", fmt.Sprint(c.InboundPort), "-e", fmt.Sprint(c.TunnelPort), "-m", c.Mode.String(),
		"-u", listed(c.ProxyUIDs), "-g", listed(c.ProxyGIDs), "-t", fmt.Sprint(c.TProxyMark), "--compat", c.Generation.String(),
		"-i", listed(c.OutboundPrefixes.Only), "-x", listed(c.OutboundPrefixes.Except),
		"-b", listed(c.InboundPorts.Only), "-d", listed(c.InboundPorts.Except), "-q", listed(c.OutboundPorts), "-o", listed(c.OutboundExcludePorts),
		"-c", listed(c.ExcludeInterfaces), "-k", listed(c.VirtualInterfaces),
		fmt.Sprint("--redirect-dns=", c.DNS.Captures()), fmt.Sprint("--capture-all-dns=", c.DNS.All), fmt.Sprint("--drop-invalid=", c.DropInvalid),
	}
	if c.OutboundPrefixes.All {
		args = append(args, "-i", "*")
	}
	if c.InboundPorts.All {
		args = append(args, "-b", "*")
	}
	if g := c.OwnerGroups; g.All {
		env = append(env, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE="+listed(g.Except))
	} else {
		env = append(env, "ISTIO_OUTBOUND_OWNER_GROUPS="+listed(g.Only))
	}
	if c.LoopbackV4.IsValid() {
		env = append(env, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR="+c.LoopbackV4.String())
	}
	return args, env
}

// listed joins values with commas; ranges have a hyphen.
func listed[T any](values []T) string {
	var texts []string
	for _, v := range values {
		text := fmt.Sprint(v)
		if _, is := any(v).(iptables.PortRange); is {
			text = strings.Replace(text, ":", "-", 1)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ",")
}

// try applies configurations with each backend, and compares the outcomes.
func (p *randomPod) try(t *testing.T, configs int) {
	t.Helper()
	const connections = 8
	tried := 0
	defer func() {
		if tried == 0 {
			t.Errorf("none of %d configurations is valid", configs)
		}
	}()
	for range configs {
		c := p.config()
		if c.Validate() != nil {
			continue
		}
		tried++
		args, env := flagsOf(c)
		var sample []flow.Flow
		for range connections {
			sample = append(sample, istio.OneOf(p.rng, p.flows...))
		}
		var first []string
		for i, b := range backends {
			p.apply(t, c, env, in(b, args))
			got := p.observe(sample)
			if i == 0 {
				first = got
			}
			for k, outcome := range got {
				if outcome != first[k] {
					t.Errorf("%s %s\n%s of iptables-nft, but\n%s of %s", strings.Join(env, " "), strings.Join(args, " "), first[k], outcome, b)
				}
			}
		}
	}
}

// apply makes the rules of a configuration.
func (p *randomPod) apply(t *testing.T, c capture.Config, env, args []string) {
	t.Helper()
	var resolvConf strings.Builder
	for _, server := range c.DNS.Servers {
		fmt.Fprintf(&resolvConf, "nameserver %s\n", server)
	}
	if _, stderr, err := p.RunWith(t, env, resolvConf.String(), built, append([]string{applyCommand}, args...)...); err != nil {
		t.Fatalf("apply %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
}

// observe makes connections, and returns each with its outcome. Where the answer is not
// complete, as the proxy did not reach the destination, that is the first line of it.
func (p *randomPod) observe(flows []flow.Flow) (outcomes []string) {
	for _, f := range flows {
		for _, family := range f.In(inet.Families[:]) {
			outcome, said := p.Observe(f, family)
			if strings.HasPrefix(outcome, "error: ") {
				line, _, _ := strings.Cut(said, "\n")
				outcome = "incomplete: " + line
			}
			outcomes = append(outcomes, fmt.Sprintf("%s (%s): %s", strings.TrimSuffix(f.Line, " = direct"), family, outcome))
		}
	}
	return outcomes
}
