package options

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/scenario"
	"istio-init/test/size"
)

// parsed is what the program makes of arguments and variables.
func parsed(t *testing.T, args, variables []string, servers []netip.Addr) *Parsed {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	values := defineFlags(flags, options, allOptions)
	if err := flags.Parse(args); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	env := func(name string) (string, bool) {
		for _, v := range variables {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
	set, problems := parseSettings(values, env, &systemNames{ctx: context.Background}, allOptions)
	if len(problems) > 0 {
		t.Fatalf("%q %q: %v", variables, args, problems)
	}
	set.takeServers(servers)
	return set
}

// takeServers gives the configuration the servers of a namespace.
func (s *Parsed) takeServers(servers []netip.Addr) {
	switch {
	case !s.RedirectDNS:
	case s.CaptureAllDNS:
		s.Config.DNS.All = true
	default:
		s.Config.DNS.Servers = servers
	}
}

// captured are the families that are captured in a pod with addresses of both, of
// which that of IPv4 is the first.
func (s *Parsed) captured() []inet.Family {
	if s.Families == pod.FamiliesDual || s.Families == pod.FamiliesByAddress && s.DualStack {
		return inet.Families[:]
	}
	return inet.Families[:1]
}

// makesTheSame fails the test unless what is said of rules, as arguments, makes them
// again, in the families in which they are.
func makesTheSame(t *testing.T, rules []iptables.Ruleset) {
	t.Helper()
	var readings []*infer.Inference
	both := true
	for _, rs := range rules {
		r := infer.Infer(rs)
		readings = append(readings, r)
		both = both && r.Captures()
	}
	c := infer.Configuration(readings...)
	args, variables := Arguments(c, both)
	set := parsed(t, args, variables, c.DNS.Servers)
	families := set.captured()
	for _, f := range inet.Families {
		got := iptables.Ruleset{Family: f}
		if len(families) > int(f) {
			got = capture.Rules(set.Config, f)
		}
		if diff := cmp.Diff(rules[f].String(), got.String()); diff != "" {
			t.Errorf("%s: %q %q do not make the rules (-want +got):\n%s", f, variables, args, diff)
		}
	}
}

const testdata = "../../../testdata"

// ofScenario is what the arguments and the environment of a scenario say.
func ofScenario(t *testing.T, s *scenario.Scenario) *Parsed {
	t.Helper()
	flags, _ := input{}.given(t)
	if err := flags.Parse(s.Args); err != nil {
		t.Fatal(err)
	}
	set, problems := parseSettings(flags.values, s.LookupEnv, &systemNames{ctx: context.Background}, allOptions)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

// TestArgumentsMakeTheRulesThatTheyAreSaidToMake is for what the scenarios have.
func TestArgumentsMakeTheRulesThatTheyAreSaidToMake(t *testing.T) {
	for _, s := range scenario.All(t, testdata) {
		t.Run(s.Name(), func(t *testing.T) {
			set := ofScenario(t, s)
			servers, err := netutil.ParseDNSServers(strings.NewReader(s.Section("resolv.conf")))
			if err != nil {
				t.Fatal(err)
			}
			set.takeServers(servers)
			if !set.Config.ProxiesInbound() {
				set.Config.TProxyTable = capture.DefaultTProxyTable // shows nowhere
			}
			c := flow.Config{Config: set.Config, Captured: set.captured()}
			rules := []iptables.Ruleset{c.Rules(inet.IPv4), c.Rules(inet.IPv6)}
			if len(rules[inet.IPv4].Tables) == 0 || s.Name() == "dns-v6-servers-uncaptured" {
				return // nothing is captured; or what is not shows in the rules of the other family
			}
			makesTheSame(t, rules)
		})
	}
}

// TestArgumentsOfRandomRulesMakeThem is for command lines of random values.
func TestArgumentsOfRandomRulesMakeThem(t *testing.T) {
	t.Parallel()
	for n := range size.Of(100, 400, 1500) {
		args, variables := randomLine(rand.New(rand.NewPCG(3, uint64(n))), n%2 == 0)
		servers := []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("2001:db8::53")}[:1+(n+1)%2]
		set := parsed(t, args, variables, servers)
		families := set.captured()
		rules := []iptables.Ruleset{capture.Rules(set.Config, inet.IPv4), {Family: inet.IPv6}}
		if len(families) > 1 {
			rules[inet.IPv6] = capture.Rules(set.Config, inet.IPv6)
		}
		makesTheSame(t, rules)
		if t.Failed() {
			t.Fatalf("line %d: %q %q", n, variables, args)
		}
	}
}

// randomLine makes a command line and an environment that are accepted. What is of
// IPv6 is among it only where IPv6 is captured: else no rule shows it.
func randomLine(rng *rand.Rand, dual bool) (args, variables []string) {
	some := func(from ...string) string {
		rng.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
		return strings.Join(from[:rng.IntN(len(from)+1)], ",")
	}
	orAll := func(list string) string {
		if rng.IntN(2) == 0 {
			return "*"
		}
		return list
	}
	ports := func() string { return some("80", "443", "1000-2000", "53", "15008", "22") }
	nets := func() string {
		if !dual {
			return some("10.0.0.0/8", "10.1.2.0/24", "127.0.0.0/8", "192.0.2.7/32")
		}
		return some("10.0.0.0/8", "10.1.2.0/24", "127.0.0.0/8", "2001:db8::/32", "::1/128", "192.0.2.7/32")
	}
	ids := func() string { return "1337" + strings.TrimSuffix(","+some("0", "3", "2000-3000"), ",") }
	add := func(flag, value string) {
		if value != "" && rng.IntN(3) > 0 {
			args = append(args, flag, value)
		}
	}
	mode := []string{"REDIRECT", "TPROXY"}[rng.IntN(2)]
	args = append(args, "-m", mode)
	add("-p", fmt.Sprint(15001+rng.IntN(2)*100))
	add("-z", fmt.Sprint(15006+rng.IntN(2)*100))
	add("-e", fmt.Sprint(15008+rng.IntN(2)*100))
	add("-u", ids())
	add("-g", ids())
	add("-i", orAll(nets()))
	add("-x", nets())
	add("-b", orAll(ports()))
	add("-d", ports())
	add("-q", ports())
	add("-o", ports())
	add("-c", some("net1", "net2"))
	add("-k", some("vm0", "vm1", "tap+"))
	if mode == "TPROXY" {
		add("-t", fmt.Sprint(1337+rng.IntN(2)*100))
	}
	for _, on := range []string{"--redirect-dns", "--capture-all-dns", "--drop-invalid"} {
		if rng.IntN(3) == 0 {
			args = append(args, on)
		}
	}
	if dual {
		args = append(args, "--dual-stack")
	}
	if rng.IntN(4) == 0 {
		args = append(args, "--compat", "1.15")
	}
	for _, v := range []string{"ISTIO_OUTBOUND_OWNER_GROUPS=" + orAll("1,2,5-9"), "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=7,8", "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/16"} {
		if rng.IntN(3) == 0 {
			variables = append(variables, v)
		}
	}
	return args, variables
}
