package main

import (
	"context"

	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
)

// change calls a run that may change rules, and with --output json prints what it has changed.
// Without, a run prints nothing: the callers of Istio's tools read nothing on standard output.
func (cmd *command) change(ctx context.Context, result *report.Change, run func(context.Context, *command) error) error {
	if cmd.opts.Output != options.JSON {
		return run(ctx, cmd)
	}
	cmd.result = result
	result.DryRun, result.Plan, result.Skipped = cmd.opts.DryRun && !cmd.opts.Plan, cmd.opts.Plan, cmd.opts.SkipApply
	if err := run(ctx, cmd); err != nil {
		return err
	}
	result.Changed = len(result.Steps) > 0 && !cmd.opts.Plan && !cmd.opts.DryRun
	result.Warnings = cmd.log.Warnings
	return cmd.show(result)
}

// run makes the steps of a plan. One that failed may have made some, and its error is told
// instead of the result.
func (cmd *command) run(ctx context.Context, plan *pod.Plan) error {
	if err := plan.Run(ctx, cmd.logEvent); err != nil {
		return err
	}
	cmd.result.Add(plan)
	return nil
}
