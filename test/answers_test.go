package test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/pod"
	"istio-init/test/scenario"
	"istio-init/test/size"
)

// TestAnswersAreTheSameForEveryBackend asks the same questions of each backend. What check says
// differs in the name of the backend alone, and in the order of lists, which are sets in native
// nftables: the rules are made by the arguments that check finds there. What trace and explain
// say differs also in the rules, of which iptables has more: those are left out.
func TestAnswersAreTheSameForEveryBackend(t *testing.T) {
	needKernel(t)
	for i, s := range scenario.All(t, testdata) {
		// Lists that are a tree of chains are read in the order of the chains.
		if i%size.Of(40, 12, 1) != 0 || strings.Contains(s.Name(), "long") {
			continue
		}
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			stage{s, s.Config(t)}.answersAlike(t)
		})
	}
}

func (s stage) answersAlike(t *testing.T) {
	t.Helper()
	p := pod.New(t, s.config)
	run := func(env []string, args ...string) string {
		t.Helper()
		stdout, stderr, err := p.RunWith(t, env, sortedServers(s.Section("resolv.conf")), built, args...)
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
		}
		return stdout
	}
	run(strings.Split(strings.TrimSpace(s.Section("env")), "\n"), append([]string{applyCommand}, in(native, s.Args)...)...)
	var found struct{ Arguments, Variables []string }
	if err := json.Unmarshal([]byte(run(nil, "check", "--output", "json")), &found); err != nil {
		t.Fatal(err)
	}
	questions := [][]string{{"check"}, append([]string{"check"}, found.Arguments...), {"explain"}}
	for _, f := range s.Flows[:min(len(s.Flows), 4)] {
		for _, family := range f.In(s.config.Captured) {
			questions = append(questions, append([]string{"trace"}, traceArgs(f.Connection(s.config, family))...))
		}
	}
	want := map[string]string{}
	for _, b := range backends {
		run(found.Variables, append([]string{applyCommand}, in(b, found.Arguments)...)...)
		for _, q := range questions {
			question := strings.Join(q, " ")
			got := withoutRules(t, run(found.Variables, append(q, "--output", "json")...))
			if want[question] == "" {
				want[question] = got
			}
			if diff := cmp.Diff(want[question], got); diff != "" {
				t.Errorf("%s (-iptables-nft +%s):\n%s", question, b, diff)
			}
		}
	}
}

// sortedServers is a resolv.conf with its name servers in the order of a set.
func sortedServers(resolvConf string) string {
	lines := strings.SplitAfter(resolvConf, "\n")
	server := func(line string) netip.Addr {
		addr, _ := netip.ParseAddr(strings.TrimSpace(strings.TrimPrefix(line, "nameserver ")))
		return addr
	}
	slices.SortStableFunc(lines, func(a, b string) int { return server(a).Compare(server(b)) })
	return strings.Join(lines, "")
}

// withoutRules returns an answer in JSON without the name of the backend, the rules, and what
// is said of them.
func withoutRules(t *testing.T, answer string) string {
	t.Helper()
	var document any
	if err := json.Unmarshal([]byte(answer), &document); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range []string{"variant", "backend", "wanted", "rules", "tables", "stages", "behind", "outcome", "reason"} {
				delete(v, key)
			}
			for _, value := range v {
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		}
	}
	walk(document)
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
