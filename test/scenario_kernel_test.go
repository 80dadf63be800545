package test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
	"istio-init/test/scenario"
	"istio-init/test/size"
)

func TestScenarioFlowsOnTheKernel(t *testing.T) {
	needKernel(t)
	for _, s := range scenario.All(t, testdata) {
		for _, v := range xtables.Variants {
			t.Run(s.Name()+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				stage{s, s.Config(t)}.onKernel(t, v)
			})
		}
	}
}

// A stage is a scenario with the configuration of its pod.
type stage struct {
	*scenario.Scenario
	config flow.Config
}

// onKernel applies the scenario in a pod with the built program, compares the live rules
// with the goldens, makes the connections, applies again and cleans.
func (s stage) onKernel(t *testing.T, v xtables.Variant) {
	t.Helper()
	pod := pod.New(t, s.config)
	run := func(args ...string) string {
		t.Helper()
		env := append(strings.Split(strings.TrimSpace(s.Section("env")), "\n"), "FORCE_IPTABLES_BINARY="+v.String())
		_, stderr, err := pod.RunWith(t, env, s.Section("resolv.conf"), built, args...)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", programName, strings.Join(args, " "), err, stderr)
		}
		return stderr
	}
	before := saveBoth(t, pod, v)
	if len(s.Earlier) > 0 {
		run(append([]string{applyCommand}, s.Earlier...)...)
	}
	run(append([]string{applyCommand}, s.Args...)...)
	applied := saveBoth(t, pod, v)
	for _, f := range inet.Families {
		if diff := cmp.Diff(s.Save(f), applied[f]); diff != "" {
			t.Errorf("the kernel prints other rules for %s (-want +got):\n%s", f, diff)
		}
	}
	s.validates(t, run)
	if !testing.Short() { // the rules equal the golden anyway
		s.exist(t, pod, v)
		s.connect(t, pod, v)
	}
	run(append([]string{applyCommand}, s.Args...)...)
	if diff := cmp.Diff(applied, saveBoth(t, pod, v)); diff != "" {
		t.Errorf("a second run changed rules (-want +got):\n%s", diff)
	}
	run(cleanCommand)
	if diff := cmp.Diff(before, saveBoth(t, pod, v)); diff != "" {
		t.Errorf("cleaning left something (-want +got):\n%s", diff)
	}
}

// connect makes the connections of the scenario, and compares their outcomes with those of
// trace: each on one variant, with STRESS=1 on both.
func (s stage) connect(t *testing.T, pod *pod.Pod, v xtables.Variant) {
	t.Helper()
	pod.Serve(t, s.Flows)
	connections := 0
	for _, fl := range s.Flows {
		for _, family := range fl.In(s.config.Captured) {
			if got, said := pod.Observe(fl, family); got != fl.Outcome {
				t.Errorf("%s (%s): on the kernel it is %s\nheard: %q\nby the rules: %s", fl.Line, family, got, said,
					flow.PredictBy(s.config, s.Rules(t, family), fl))
			}
			connections++
			if !size.Stress() && connections%len(xtables.Variants) != int(v) {
				continue
			}
			if got := s.trace(t, pod, fl, family); got != fl.Outcome {
				t.Errorf("%s (%s): trace says of the live rules that it is %s", fl.Line, family, got)
			}
		}
	}
}

// trace returns the outcome of a flow by the live rules, from the built program.
func (s stage) trace(t *testing.T, pod *pod.Pod, fl flow.Flow, family inet.Family) string {
	t.Helper()
	args := append([]string{"trace", "--output", "json"}, traceArgs(fl.Connection(s.config, family))...)
	stdout, stderr, err := pod.Run(t.Context(), built, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	var answer struct {
		Certain bool
		Legs    []struct {
			Landing string
			Port    uint16
		}
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || len(answer.Legs) == 0 || !answer.Certain {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stdout)
	}
	return fl.OutcomeAt(answer.Legs[0].Landing, answer.Legs[0].Port)
}

// traceArgs returns the arguments of trace for a flow.
func traceArgs(c path.Connection) []string {
	args := []string{"--to", c.Dst.String(), "--proto", c.Proto.String()}
	if c.Owner != nil {
		args = append(args, "--uid", strconv.Itoa(int(c.Owner.UID)), "--gid", strconv.Itoa(int(c.Owner.GID)))
	} else {
		args = append(args, "--in", c.In)
	}
	switch {
	case c.Src.Addr().IsValid() && c.Src.Port() != 0:
		args = append(args, "--from", c.Src.String())
	case c.Src.Addr().IsValid():
		args = append(args, "--from", c.Src.Addr().String())
	case c.Src.Port() != 0:
		args = append(args, "--from", fmt.Sprintf(":%d", c.Src.Port()))
	}
	if c.State != 0 {
		args = append(args, "--state", strings.ToLower(c.State.String()))
	}
	return args
}

// saveBoth returns the rules of both families as our text, without empty tables, and the
// policy routing and the addresses of lo.
func saveBoth(t *testing.T, pod *pod.Pod, v xtables.Variant) (texts [3]string) {
	t.Helper()
	for _, f := range inet.Families {
		name := strings.Replace(xtables.SaveTool(f), "-save", "-"+v.String()+"-save", 1)
		stdout, stderr, err := pod.Run(t.Context(), name)
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, stderr)
		}
		snapshot, err := iptables.ParseSnapshot(f, stdout)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = withoutEmptyTables(snapshot.String())
	}
	for _, args := range []string{"rule", "-6 rule", "route show table all type local default", "-6 route show table all type local default", "-6 addr show dev lo"} {
		stdout, stderr, err := pod.Run(t.Context(), "ip", strings.Fields(args)...)
		if err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, stderr)
		}
		texts[2] += stdout
	}
	return texts
}

// withoutEmptyTables drops tables that have only built-in chains with the policy ACCEPT:
// the kernel keeps a table that was used.
func withoutEmptyTables(text string) string {
	var kept strings.Builder
	for table := range strings.SplitAfterSeq(text, "COMMIT\n") {
		if strings.Contains(table, "\n-A ") || strings.Contains(table, " - [") {
			kept.WriteString(table)
		}
	}
	return kept.String()
}
