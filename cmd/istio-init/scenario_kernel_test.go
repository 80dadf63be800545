package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/capture/capturetest"
	"istio-init/iptables"
)

func TestScenarioFlowsAreTrueOnTheKernel(t *testing.T) {
	needKernel(t)
	program := builtProgram(t)
	for _, s := range loadScenarios(t) {
		for _, v := range iptables.Variants {
			t.Run(s.name()+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				s.onKernel(t, program, v)
			})
		}
	}
}

// onKernel applies the scenario in a pod by the program itself, compares what the
// kernel has with the goldens, makes the connections, applies again and cleans.
func (s *scenario) onKernel(t *testing.T, program string, v iptables.Variant) {
	pod := capturetest.NewPod(t, s.config)
	run := func(args ...string) string {
		t.Helper()
		env := append(strings.Split(strings.TrimSpace(s.section("env")), "\n"), "FORCE_IPTABLES_BINARY="+v.String())
		_, stderr, err := pod.RunWith(t, env, s.section("resolv.conf"), program, args...)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", programName, strings.Join(args, " "), err, stderr)
		}
		return stderr
	}
	before := saveBoth(t, pod, v)
	if earlier := s.section("earlier"); earlier != "" {
		args, err := shellWords(earlier)
		if err != nil {
			t.Fatalf("earlier: %v", err)
		}
		run(append([]string{applyCommand}, args...)...)
	}
	run(append([]string{applyCommand}, s.args...)...)
	applied := saveBoth(t, pod, v)
	for _, f := range iptables.Families {
		want := s.config.Rules(f).String()
		if diff := cmp.Diff(want, applied[f]); diff != "" {
			t.Errorf("the kernel prints other rules for %s (-want +got):\n%s", f, diff)
		}
	}
	s.validates(t, run)
	if !testing.Short() { // the rules are those of the golden, whoever made them
		s.exist(t, pod, v)
		s.connect(t, pod)
	}
	run(append([]string{applyCommand}, s.args...)...)
	if diff := cmp.Diff(applied, saveBoth(t, pod, v)); diff != "" {
		t.Errorf("a second run changed rules (-want +got):\n%s", diff)
	}
	run(cleanCommand)
	if diff := cmp.Diff(before, saveBoth(t, pod, v)); diff != "" {
		t.Errorf("cleaning left something (-want +got):\n%s", diff)
	}
}

// connect makes the connections of the scenario.
func (s *scenario) connect(t *testing.T, pod *capturetest.Pod) {
	t.Helper()
	pod.Serve(t, s.flows)
	for _, flow := range s.flows {
		for _, family := range flow.In(s.config.Captured) {
			if got, said := pod.Observe(flow, family); got != flow.Outcome {
				t.Errorf("%s (%s): on the kernel it is %s\nheard: %q\nby the rules: %s", flow.Line, family, got, said,
					capturetest.Predict(s.config, flow, family))
			}
			if got := s.trace(t, pod, flow, family); got != flow.Outcome {
				t.Errorf("%s (%s): trace says of the live rules that it is %s", flow.Line, family, got)
			}
		}
	}
}

// trace asks the built program where a flow lands, by the rules that stand.
func (s *scenario) trace(t *testing.T, pod *capturetest.Pod, flow capturetest.Flow, family iptables.Family) string {
	t.Helper()
	args := append([]string{"trace", "--output", "json"}, traceArgs(flow.Connection(s.config, family))...)
	stdout, stderr, err := pod.Run(t.Context(), builtProgram(t), args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	var answer traceJSON
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || len(answer.Legs) == 0 || !answer.Certain {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stdout)
	}
	return flow.OutcomeAt(answer.Legs[0].Landing, answer.Legs[0].Port)
}

// traceArgs are the arguments that ask for a connection.
func traceArgs(c capture.Connection) []string {
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

// saveBoth returns the rules of both families in our own form, without tables
// that hold nothing, and the policy routing and the addresses of lo.
func saveBoth(t *testing.T, pod *capturetest.Pod, v iptables.Variant) (texts [3]string) {
	t.Helper()
	for _, f := range iptables.Families {
		name := strings.Replace(f.SaveTool(), "-save", "-"+v.String()+"-save", 1)
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

// withoutEmptyTables drops tables that hold nothing but built-in chains with the
// policy ACCEPT: the kernel keeps a table that was used.
func withoutEmptyTables(text string) string {
	var kept strings.Builder
	for table := range strings.SplitAfterSeq(text, "COMMIT\n") {
		if strings.Contains(table, "\n-A ") || strings.Contains(table, " - [") {
			kept.WriteString(table)
		}
	}
	return kept.String()
}

// builtProgram returns the program as its user has it, or the one that TEST_PROGRAM
// names, as the tests of the image do.
func builtProgram(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("TEST_PROGRAM"); path != "" {
		return path
	}
	path, err := exec.LookPath(programName)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
