package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/istio"
	"istio-init/test/pod"
)

// dnsServers is the resolv.conf of the server in testdata/takeover.
const dnsServers = "nameserver 10.96.0.10\nnameserver 2001:db8::53\n"

// published are flags of every validation here.
const published = "-p 15001 -z 15006 -u 1337 -i * --dual-stack"

// shellIn runs a script in a pod.
func shellIn(t *testing.T, p *pod.Pod, script string) {
	t.Helper()
	if _, stderr, err := p.Run(t.Context(), "/bin/sh", "-ec", script); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, stderr)
	}
}

// validatesAs runs the validation of rules that are not ours as a user of a pod: nothing
// fails, and something is checked.
func validatesAs(t *testing.T, p *pod.Pod, as, flags []string) string {
	t.Helper()
	line := slices.Concat(as, []string{built, applyCommand}, flags, []string{"--skip-rule-apply", "--run-validation"})
	_, log, err := p.RunWith(t, nil, dnsServers, line[0], line[1:]...)
	if err != nil || checks(log, "check failed") > 0 || checks(log, "check passed") == 0 {
		t.Errorf("%v: %v\n%s", line[1:], err, log)
	}
	return log
}

// TestValidationPassesOnIstioRules validates the rules of testdata/takeover, as root and as
// the container istio-validation.
func TestValidationPassesOnIstioRules(t *testing.T) {
	onGenerations(t, func(t *testing.T, g generation, v xtables.Variant) {
		args, ok := g.sections["args"]
		if !ok {
			return // no flags make these rules
		}
		p := pod.New(t, flow.Config{})
		restoreIn(t, p, v, inet.IPv4, g.sections["ipv4"]+g.sections["both"])
		restoreIn(t, p, v, inet.IPv6, toIPv6.Replace(g.sections["both"]))
		shellIn(t, p, g.sections["before"])
		flags := strings.Fields(published + " -b * -d 15090,15021,15020 " + args)
		for _, as := range [][]string{nil, asProxy} {
			validatesAs(t, p, as, flags)
		}
	})
}

// istioConfigs are the configurations of TestValidationPassesOnIstioRulesOfEveryMode: the
// flags besides those of published, and what they mean.
var istioConfigs = map[string]struct {
	flags  string
	change func(*capture.Config)
}{
	"all": {"-b *", func(*capture.Config) {}},
	"listed": {"-b 80,15008", func(c *capture.Config) {
		c.InboundPorts = capture.Selector[iptables.PortRange]{Only: []iptables.PortRange{iptables.Port(80), iptables.Port(15008)}}
	}},
	"users": {"-b * -u 1337,3 -g 1337,4", func(c *capture.Config) {
		c.ProxyUIDs = append(c.ProxyUIDs, iptables.ID(3))
		c.ProxyGIDs = append(c.ProxyGIDs, iptables.ID(4))
	}},
	"dns":     {"-b * --redirect-dns --capture-all-dns", func(c *capture.Config) { c.DNS.All = true }},
	"no-port": {"", func(c *capture.Config) { c.InboundPorts.All = false }},
}

// TestValidationPassesOnIstioRulesOfEveryMode validates the rules that Istio makes for a
// generation, a mode, lists, several users and DNS, in both families, as root and as the
// container istio-validation.
func TestValidationPassesOnIstioRulesOfEveryMode(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, generation := range []capture.Generation{capture.Current, capture.Istio1_15} {
		for _, mode := range []capture.Mode{capture.Redirect, capture.TProxy} {
			for name, config := range istioConfigs {
				t.Run(fmt.Sprintf("%s-%s-%s", generation, mode, name), func(t *testing.T) {
					t.Parallel()
					c := istio.LongConfig(0)
					c.Mode, c.Generation, c.TProxyMark, c.TProxyTable = mode, generation, capture.DefaultTProxyMark, capture.DefaultTProxyTable
					config.change(&c)
					p := withIstio(t, c)
					flags := strings.Fields(published + " -m " + mode.String() + " " + config.flags)
					for _, as := range [][]string{nil, asProxy} {
						log := validatesAs(t, p, as, flags)
						if told := checks(log, "check differs, as Istio's own rules do"); told == 0 && as == nil && mode == capture.TProxy && name != "no-port" {
							t.Errorf("the tunnel port is not told:\n%s", log)
						}
						if generation == capture.Istio1_15 { // a CNI plugin has no --compat
							validatesAs(t, p, as, append(flags, "--compat", "1.15"))
						}
					}
				})
			}
		}
	}
}

// withIstio returns a pod with the rules that Istio makes of a configuration.
func withIstio(t *testing.T, c capture.Config) *pod.Pod {
	t.Helper()
	p := pod.New(t, flow.Config{})
	for _, f := range inet.Families {
		restoreIn(t, p, xtables.NFT, f, istio.Rules(c, f, false).String())
	}
	shellIn(t, p, `ip -6 addr add ::6/128 dev lo nodad
for f in -4 -6; do ip $f rule add fwmark 1337 lookup 133; ip $f route add local default dev lo table 133; done`)
	return p
}
