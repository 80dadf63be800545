package test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
)

// A liveState is the state of a namespace at one moment, in parts that change atomically.
type liveState struct {
	tables map[place]string
	routes [len(inet.Families)]string
	addrs  string
}

// A place is where a table is.
type place struct {
	backend
	family inet.Family
	table  string
}

func (p place) String() string { return fmt.Sprintf("%s %s %s", p.family, p.backend, p.table) }

// see reads the state of the namespace, without empty tables.
func (s *site) see() liveState {
	s.t.Helper()
	now := liveState{tables: map[place]string{}}
	for _, b := range backends {
		for _, f := range inet.Families {
			for table := range strings.SplitAfterSeq(s.saved(b, f), "COMMIT\n") {
				if name, _, ok := strings.Cut(strings.TrimPrefix(table, "*"), "\n"); ok {
					now.tables[place{b, f, name}] = table
				}
			}
		}
	}
	for f, flag := range []string{"-4", "-6"} {
		routes := s.sh("ip " + flag + " rule; ip " + flag + " route show table all type local default")
		now.routes[f] = rulePriority.ReplaceAllString(routes, "") // chosen by the kernel
	}
	now.addrs = s.sh("ip addr show dev lo")
	return now
}

var rulePriority = regexp.MustCompile(`(?m)^\d+:\t`)

// String returns the whole state, for comparisons.
func (now liveState) String() string {
	var b strings.Builder
	for _, p := range slices.SortedFunc(maps.Keys(now.tables), func(p, q place) int { return strings.Compare(p.String(), q.String()) }) {
		fmt.Fprintf(&b, "== %s\n%s", p, now.tables[p])
	}
	return b.String() + strings.Join(now.routes[:], "") + now.addrs
}

// evaluatedFlows are the connections that a state is evaluated with: each kind that some
// configuration treats differently.
var evaluatedFlows = []string{
	"app -> ext:80", "app -> ext:9000", "app -> ext:53", "app -> udp ext:53", "app -> 10.9.0.1:80", "app -> 2001:db8:9::1:80",
	"app -> pod:8080", "app -> localhost:8080", "1337:1337 -> ext:80", "1337:1337 -> pod:8080", "root -> ext:80",
	"peer -> pod:8080", "peer -> pod:9090", "peer -> pod:15020", "peer -> pod:15090", "peer -> stray pod:8080",
}

// A verdict is the outcome of a connection in a state.
type verdict struct {
	flow    flow.Flow
	family  inet.Family
	outcome string
}

// judge evaluates the flows with the rules of a state. A connection is captured if one of
// the backends captures it.
func (now liveState) judge(t *testing.T, c flow.Config) []verdict {
	t.Helper()
	flows, err := flow.Parse(strings.Join(evaluatedFlows, " = direct\n") + " = direct\n")
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []verdict
	for _, fl := range flows {
		for _, f := range fl.In(inet.Families[:]) {
			var outcome string
			for _, b := range backends {
				if got := flow.PredictBy(c, now.ruleset(t, b, f), fl).Outcome; outcome == "" || got != "direct" {
					outcome = got
				}
			}
			verdicts = append(verdicts, verdict{fl, f, outcome})
		}
	}
	return verdicts
}

// ruleset parses the rules of a backend and family.
func (now liveState) ruleset(t *testing.T, b backend, f inet.Family) iptables.Ruleset {
	t.Helper()
	rs := iptables.Ruleset{Family: f}
	for _, name := range []string{iptables.Raw, iptables.Mangle, iptables.NAT} {
		table := iptables.Table{Name: name}
		for line := range strings.Lines(now.tables[place{b, f, name}]) {
			rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-A ")
			if !ok {
				continue
			}
			chain, text, _ := strings.Cut(rest, " ")
			rule, err := iptables.ParseRule(f, text)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(table.Chains, func(c iptables.Chain) bool { return c.Name == chain })
			if at < 0 {
				at, table.Chains = len(table.Chains), append(table.Chains, iptables.Chain{Name: chain})
			}
			table.Chains[at].Rules = append(table.Chains[at].Rules, rule)
		}
		rs.Tables = append(rs.Tables, table)
	}
	return rs
}

// between returns the errors of a state in the middle of a change. Each table has to be
// the old or the new one, each connection has to have its old or new outcome, packets
// marked for TPROXY need their route, and if IPv6 is captured the proxy needs its source
// address.
func (now liveState) between(t *testing.T, before, after liveState, was, will flow.Config) (wrong []string) {
	t.Helper()
	for p, text := range now.tables {
		if p.backend == native && before.tables[p] != after.tables[p] { // may have new rules that no packet meets
			continue
		}
		if text != before.tables[p] && text != after.tables[p] {
			wrong = append(wrong, fmt.Sprintf("%s is neither that before nor that after:\n%s", p, text))
		}
	}
	for p := range before.tables {
		if now.tables[p] == "" && after.tables[p] != "" {
			wrong = append(wrong, fmt.Sprintf("%s is gone", p))
		}
	}
	old, next := before.judge(t, was), after.judge(t, will)
	for i, v := range now.judge(t, will) {
		if v.outcome != old[i].outcome && v.outcome != next[i].outcome {
			wrong = append(wrong, fmt.Sprintf("%s (%s): %s; before %s, after %s", v.flow.Line, v.family, v.outcome, old[i].outcome, next[i].outcome))
		}
	}
	return append(append(wrong, now.unrouted()...), now.unbound()...)
}

// unbound reports rules for IPv6 while the proxy's source address ::6 is missing.
func (now liveState) unbound() (wrong []string) {
	for p, text := range now.tables {
		if p.family == inet.IPv6 && strings.Contains(text, ":ISTIO_") && !strings.Contains(now.addrs, " ::6/128 ") {
			wrong = append(wrong, fmt.Sprintf("%s captures, and ::6 is not on lo:\n%s", p, now.addrs))
		}
	}
	return wrong
}

var tproxyMark = regexp.MustCompile(`-j TPROXY .*--tproxy-mark (0x[0-9a-f]+)/`)

// unrouted reports packets that are marked for TPROXY but have no route to the proxy.
func (now liveState) unrouted() (wrong []string) {
	for p, text := range now.tables {
		for _, m := range tproxyMark.FindAllStringSubmatch(text, -1) {
			rule := regexp.MustCompile(`fwmark ` + m[1] + ` lookup (\d+)`).FindStringSubmatch(now.routes[p.family])
			if rule == nil {
				wrong = append(wrong, fmt.Sprintf("%s marks packets %s, and no policy rule takes them:\n%s", p, m[1], now.routes[p.family]))
			} else if !strings.Contains(now.routes[p.family], "local default dev lo table "+rule[1]+" ") {
				wrong = append(wrong, fmt.Sprintf("%s marks packets %s, and table %s has no route:\n%s", p, m[1], rule[1], now.routes[p.family]))
			}
		}
	}
	return wrong
}

// configOf returns the configuration of a command line, inferred from the rules that the
// program makes; both families are captured.
func configOf(t testing.TB, line []string) flow.Config {
	t.Helper()
	if len(line) == 0 || line[0] == cleanCommand {
		line = in(xtables.NFT, flags("-b 80"))
	}
	var readings []*infer.Inference
	for _, rs := range rulesOf(t, line) {
		readings = append(readings, infer.Infer(rs))
	}
	c := flow.Config{Config: infer.Configuration(readings...), Captured: inet.Families[:]}
	c.ApplyDefaults()
	return c
}

// rulesOf returns the rules of a command line, from --dry-run, as iptables has them.
func rulesOf(t testing.TB, line []string) (rules [len(inet.Families)]iptables.Ruleset) {
	t.Helper()
	line = slices.DeleteFunc(slices.Clone(line), func(arg string) bool { return arg == "--native-nftables" })
	cmd := exec.CommandContext(t.Context(), built, append(line, "--dry-run")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	d, err := iptables.ParseDump(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range inet.Families {
		rules[f] = d.States[f].Ruleset()
	}
	return rules
}
