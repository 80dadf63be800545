package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"istio-init/capture"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

func newApply(s streams) *cobra.Command {
	return newRuleCommand(s, &cobra.Command{
		Use:        applyCommand,
		Aliases:    applyNames[1:],
		Short:      "install the rules, or preview them with --dry-run",
		SuggestFor: []string{"install", "run", "start", "add", "init", "preview"},
		Long: `Install the rules in the network namespace, in one transaction for each address
family. Running it again changes nothing; running it with other flags replaces
the rules. With --dry-run nothing is read or changed: the rules
are printed as iptables-save and ip6tables-save would print them. With --plan nothing is
changed: the steps that a run would take here and now are printed, the input of
iptables-restore and, as comments, commands of ip and nft.`,
		Example: `  istio-init apply -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d 15090,15021,15020
  istio-init apply -i '*' -b '*' --dry-run`,
	}, options.Apply, func(ctx context.Context, cmd *command) error { return cmd.change(ctx, report.NewApplied(), runApply) })
}

// runApply installs the rules or previews them.
func runApply(ctx context.Context, cmd *command) error {
	if err := cmd.complete(ctx); err != nil {
		return err
	}
	var validate func(context.Context) error // nil: nothing is validated
	if cmd.opts.RunValidation && !cmd.opts.Plan {
		validate = func(bounded context.Context) error { return cmd.validate(bounded, ctx) }
	}
	switch {
	case cmd.opts.SkipApply:
		cmd.log.Info("nothing installed: --skip-rule-apply is set")
		if cmd.opts.DryRun || validate == nil {
			return nil
		}
		return cmd.inNetNS(ctx, validate)
	case cmd.opts.DryRun && !cmd.opts.Plan:
		return cmd.preview(ctx)
	case cmd.opts.Plan && cmd.opts.RunValidation:
		cmd.log.Info("nothing validated: --plan is set")
	}
	return cmd.locked(ctx, cmd.apply, validate)
}

// inNetNS calls action in the network namespace of --network-namespace, within --timeout.
func (cmd *command) inNetNS(ctx context.Context, action func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmd.opts.Timeout)
	defer cancel()
	return netutil.InNetNS(netutil.NetNSPath(cmd.opts.NetNS), func() error { return action(ctx) })
}

// ask calls an action that changes nothing and answers, as inNetNS does. An action that only
// computes sees no end of its context: it is left behind. An answer that is being written may
// take its reader longer than --timeout.
func (cmd *command) ask(ctx context.Context, action func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, cmd.opts.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- cmd.inNetNS(bounded, action) }()
	select {
	case err := <-done:
		return err
	case <-bounded.Done():
	}
	if cmd.answering() {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
		}
	}
	select { // most actions say better what they waited for
	case err := <-done:
		return err
	case <-time.After(2 * lastWrite):
		return fmt.Errorf("find the answer: %w", context.Cause(bounded))
	}
}

// engine returns the engine with its options. A caller who lends his environment to a
// process with more rights than his own does not choose its programs or what these load.
func (cmd *command) engine() pod.Engine {
	e := pod.Engine{Options: pod.Options{NetNS: cmd.opts.NetNS, Outside: cmd.opts.CNIMode, OnlyListed: cmd.opts.AllNamespaces}, Report: cmd.logEvent}
	if !netutil.HasMoreRights() {
		e.Path, _ = cmd.env("PATH")
		e.LockFile, _ = cmd.env(xtables.LockFile)
		e.Env = xtables.Env(cmd.env)
	}
	e.Now = time.Now
	switch {
	case cmd.opts.NativeNFT:
		e.Force = pod.NFTables
	case cmd.opts.Force != nil:
		e.Force = pod.Name(cmd.opts.Force.String())
	}
	return e
}

// locked surveys the network namespace under its lock, calls change, and then after, within
// --timeout.
func (cmd *command) locked(ctx context.Context, change func(context.Context, *pod.Survey) error, after func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, cmd.opts.Timeout)
	defer cancel()
	return cmd.engine().Locked(ctx, change, after)
}

// apply runs the plan, or with --plan prints it. A step that fails is undone with those
// before it.
func (cmd *command) apply(ctx context.Context, found *pod.Survey) error {
	if err := cmd.refuseHost(); err != nil {
		return err
	}
	if found.LegacyHidden != nil {
		cmd.log.Info("iptables-legacy may have stale rules, and could not be read", logging.Error(found.LegacyHidden))
	}
	want, err := cmd.wanted()
	if err != nil {
		return err
	}
	plan, err := cmd.engine().Apply(ctx, found, want)
	if err != nil {
		return err
	}
	cmd.log.Info("backend chosen", backendField(plan.Backend.Backend.Name()), logging.String("reason", plan.Reason))
	for _, u := range plan.Unidentified {
		cmd.log.Warn(unidentifiedText(u))
	}
	cmd.warnOfObstacles()
	cmd.warnOfInterfaces()
	cmd.result.Chosen(plan, want)
	if cmd.opts.Plan {
		if err := errors.Join(plan.Remains...); err != nil {
			return err
		}
		cmd.result.Add(plan)
		return cmd.print(plan.String())
	}
	if err := cmd.run(ctx, plan); err != nil || cmd.opts.Config.Mode != capture.None {
		return err
	}
	cmd.log.Info("nothing is captured: mode NONE has no rules")
	return nil
}

// warnOfInterfaces warns of names that no interface has.
func (cmd *command) warnOfInterfaces() {
	c := cmd.opts.Config
	if len(c.ExcludeInterfaces)+len(c.VirtualInterfaces) == 0 {
		return
	}
	there, err := netutil.Interfaces()
	if err != nil {
		cmd.log.Debug("the names of interfaces are not checked", logging.Error(err))
		return
	}
	warn := func(flag string, names []iptables.Interface) {
		for _, i := range names {
			if !slices.ContainsFunc(there, i.Matches) {
				cmd.log.Warn(fmt.Sprintf("%s: no interface is named %s; its rules have no effect unless one comes later", flag, i), logging.Strings("interfaces", there))
			}
		}
	}
	warn("--istio-exclude-interfaces", c.ExcludeInterfaces)
	warn("--kube-virt-interfaces", c.VirtualInterfaces)
}

// warnOfObstacles warns of sysctls by which packets of the configuration are lost.
func (cmd *command) warnOfObstacles() {
	obstacles, err := tproxyObstacles(cmd.opts.Config)
	if err != nil {
		cmd.log.Info(err.Error())
	}
	for _, text := range obstacleTexts(obstacles) {
		cmd.log.Warn(text)
	}
}

// refuseHost refuses the network namespace of a machine.
func (cmd *command) refuseHost() error {
	if cmd.opts.AllowHost {
		return nil
	}
	err := pod.RefuseHost()
	if _, ok := errors.AsType[*pod.HostError](err); ok {
		return fmt.Errorf("%w; to allow it, pass --allow-host-network", err)
	}
	return err
}

// unidentifiedText says why a rule counts as different though it may be the wanted one.
func unidentifiedText(u pod.Unidentified) string {
	return unreadableText(u.Family, u.Rule) + ": not checked by iptables -C: " + u.Rule.Unasked
}

func unreadableText(f inet.Family, r iptables.UnreadableRule) string {
	return fmt.Sprintf("%s: unreadable rule in %s %s: %q counts as different from the wanted %q", f, r.Table, r.Chain, r.Text, r.Wanted.Text)
}
