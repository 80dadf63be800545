package test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture/pod"
	"istio-init/test/scenario"
)

// errFails is what a step fails with.
var errFails = errors.New("the step fails")

// A failing step fails before or after its change.
type failing struct {
	pod.Step
	after bool
}

// Do fails.
func (f failing) Do(ctx context.Context) error {
	if f.after {
		if err := f.Step.Do(ctx); err != nil {
			return err
		}
	}
	return errFails
}

// TestEachStepThatFailsLeavesTheNamespaceAsItWas fails each step of the plans of the
// scenarios, to apply and to clean, before and after its change; without STRESS=1 of each
// twelfth scenario. What is there before is of another configuration, in turns of the same
// backend and of another. After a whole run the plan is empty.
func TestEachStepThatFailsLeavesTheNamespaceAsItWas(t *testing.T) {
	needKernel(t)
	for i, sc := range scenario.All(t, testdata) {
		if i%rounds(12, 1) != 0 {
			continue
		}
		for n, b := range backends {
			t.Run(b.String()+"/"+sc.Name(), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				from := backends[(n+i/rounds(12, 1))%len(backends)]
				s.exits(0, in(from, asOther)...)
				s.sh("nft add table inet istio-proxy-nat")
				c := sc.Config(t)
				want := pod.Wanted(c.Config, c.Captured)
				programs := pod.Programs{Path: os.Getenv("PATH")}
				p := planned{s, pod.Engine{Options: pod.Options{Force: pod.Name(b.String()), Programs: programs}, Report: func(pod.Event) {}}}
				apply := func(ctx context.Context, e pod.Engine, found *pod.Survey) (*pod.Plan, error) {
					return e.Apply(ctx, found, want)
				}
				p.failsEach(apply)
				if first := p.run(apply, nil); len(first.Steps) == 0 {
					t.Error("nothing was planned")
				}
				if again := p.run(apply, nil); !again.Empty() {
					t.Errorf("planned after a whole run:\n%s", again)
				}
				clean := func(_ context.Context, e pod.Engine, found *pod.Survey) (*pod.Plan, error) {
					plan, err := e.Clean(found)
					if plan != nil {
						plan.Partial = false
					}
					return plan, err
				}
				p.failsEach(clean)
				p.run(clean, nil)
				if again := p.run(clean, nil); !again.Empty() {
					t.Errorf("planned after a whole clean:\n%s", again)
				}
			})
		}
	}
}

// A planned is a namespace in which plans are run.
type planned struct {
	*site
	pod.Engine
}

type planner func(context.Context, pod.Engine, *pod.Survey) (*pod.Plan, error)

// run plans and runs what fail makes of the steps.
func (p planned) run(plans planner, fail func([]pod.Step)) (plan *pod.Plan) {
	p.t.Helper()
	p.Do(p.t, func() error {
		found, err := p.Survey(p.t.Context())
		if err != nil {
			return err
		}
		defer found.Close()
		if plan, err = plans(p.t.Context(), p.Engine, found); err != nil {
			return err
		}
		run := *plan
		if fail != nil {
			run.Steps = append([]pod.Step(nil), plan.Steps...)
			fail(run.Steps)
		}
		err = run.Run(p.t.Context(), p.Report)
		if fail != nil && errors.Is(err, errFails) {
			return nil
		}
		return err
	})
	return plan
}

// failsEach fails each step of a plan before and after its change.
func (p planned) failsEach(plans planner) {
	p.t.Helper()
	// What is put back may have its chains in another order, which iptables-save does not show.
	state := func() string { return p.state() + p.sh("nft list tables | sort") }
	before := state()
	for i, steps := 0, 1; i < steps; i++ {
		for _, after := range []bool{false, true} {
			name := ""
			plan := p.run(plans, func(all []pod.Step) {
				steps, name = len(all), all[i].String()
				_, native := all[i].(*pod.RemoveNative) // cannot be taken back
				all[i] = failing{all[i], after && !native}
			})
			if diff := cmp.Diff(before, state()); diff != "" {
				p.t.Fatalf("failed, after its change: %v\n%s\nleft (-before +after):\n%s\nof the plan\n%s", after, name, diff, plan)
			}
		}
	}
}
