package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
)

func newClean(s streams) *cobra.Command {
	return newRuleCommand(s, &cobra.Command{
		Use:        cleanCommand,
		Aliases:    cleanNames[1:],
		Short:      "remove the rules, whatever flags made them",
		SuggestFor: []string{"uninstall", "remove", "delete", "flush", "reset", "cleanup"},
		Long: `Remove the rules. No flags are needed: our chains and rules are recognised in the live
rules, of both variants of iptables, native nftables and both families. Flags that
describe rules are accepted, since scripts pass them, and have no effect. With
--force-iptables-binary only the rules of that variant are removed. With --dry-run or
--plan the steps are printed and not taken: the input of iptables-restore and, as comments,
commands of ip and nft.`,
		Example: `  istio-init clean
  istio-init clean --network-namespace /proc/4711/ns/net`,
	}, options.Clean, func(ctx context.Context, cmd *command) error { return cmd.change(ctx, report.NewCleaned(), runClean) })
}

// runClean removes our chains and rules, of all backends and both families.
func runClean(ctx context.Context, cmd *command) error {
	if cmd.opts.SkipApply {
		cmd.log.Info("nothing removed: --skip-rule-apply is set")
		return nil
	}
	return cmd.locked(ctx, cmd.clean, nil)
}

// clean runs the plan to nothing, or with --dry-run or --plan prints it.
func (cmd *command) clean(ctx context.Context, found *pod.Survey) error {
	if found.LegacyHidden != nil {
		cmd.log.Warn("iptables-legacy may have rules that are not removed: it could not be read", logging.Error(found.LegacyHidden))
	}
	engine := cmd.engine()
	for _, state := range found.States {
		if engine.Force != "" && state.Backend.Name() != engine.Force && state.Holds() {
			cmd.log.Warn("rules stay: "+cmd.name("force-iptables-binary")+" names another variant of iptables", backendField(state.Backend.Name()))
		}
	}
	plan, err := engine.Clean(found)
	if !cmd.opts.DryRun && !cmd.opts.Plan {
		return errors.Join(err, cmd.run(ctx, plan))
	}
	if err != nil {
		return err
	}
	for _, remains := range plan.Remains {
		cmd.log.Warn("not everything can be removed", logging.Error(remains))
	}
	if plan.Empty() {
		cmd.log.Info("nothing to remove")
	}
	cmd.result.Add(plan)
	if cmd.opts.Plan {
		return cmd.print(plan.String())
	}
	return cmd.answer(ctx, plan.String())
}
