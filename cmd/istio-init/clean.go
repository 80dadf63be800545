package main

import (
	"context"
	"errors"

	"istio-init/capture/pod"
)

// runClean removes what is ours, of both variants and families.
func runClean(inv *invocation) error {
	if inv.set.SkipApply {
		inv.log.Info("nothing removed, as --skip-rule-apply says")
		return nil
	}
	return inv.locked(inv.clean)
}

// clean removes what can be removed, or with --dry-run or --plan prints the steps.
func (inv *invocation) clean(ctx context.Context, found *pod.Survey) error {
	if found.LegacyHidden != nil {
		inv.log.Warn("rules of the legacy variant may be there and are not cleaned", errorField(found.LegacyHidden))
	}
	plan, err := inv.engine().Clean(found)
	if !inv.set.DryRun && !inv.set.Plan {
		return errors.Join(err, plan.Run(ctx, inv.logEvent))
	}
	if err != nil {
		return err
	}
	for _, remains := range plan.Remains {
		inv.log.Warn("something of ours stays", errorField(remains))
	}
	if inv.set.Plan {
		return inv.print(plan.String())
	}
	return inv.answer(plan.String())
}
