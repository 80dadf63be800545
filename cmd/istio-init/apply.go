package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// An invocation is one run of a command.
type invocation struct {
	ctx    context.Context
	set    *options.Run
	env    func(string) (string, bool)
	log    *logger
	stdin  io.Reader
	stdout io.Writer
	styler report.Styler
}

// runApply installs the rules or previews them.
func runApply(inv *invocation) error {
	if err := inv.complete(); err != nil {
		return err
	}
	switch {
	case inv.set.SkipApply:
		inv.log.Info("nothing installed, as --skip-rule-apply says")
		if inv.set.DryRun || inv.set.Plan || !inv.set.RunValidation {
			return nil
		}
		return inv.inNetNS(inv.validate)
	case inv.set.DryRun && !inv.set.Plan:
		return inv.preview()
	}
	return inv.locked(func(ctx context.Context, found *pod.Survey) error {
		err := inv.apply(ctx, found)
		if err != nil || !inv.set.RunValidation || inv.set.Plan {
			return err
		}
		return inv.validate(ctx)
	})
}

// inNetNS runs an action in the network namespace that was asked for, in bounded
// time.
func (inv *invocation) inNetNS(action func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(inv.ctx, inv.set.Timeout)
	defer cancel()
	return netutil.InNetNS(netutil.NetNSPath(inv.set.NetNS), func() error { return action(ctx) })
}

// engine returns what surveys and changes the network namespace.
func (inv *invocation) engine() pod.Engine {
	e := pod.Engine{Options: pod.Options{NetNS: inv.set.NetNS, Outside: inv.set.CNIMode}, Report: inv.logEvent}
	e.Path, _ = inv.env("PATH")
	e.LockFile, _ = inv.env(xtables.LockFile)
	e.Env, e.Now = xtables.Env(inv.env), time.Now
	if inv.set.Force != nil {
		e.Force = pod.Name(inv.set.Force.String())
	}
	return e
}

// locked surveys the network namespace and calls fn, in bounded time and alone among the
// runs of this program.
func (inv *invocation) locked(fn func(context.Context, *pod.Survey) error) error {
	ctx, cancel := context.WithTimeout(inv.ctx, inv.set.Timeout)
	defer cancel()
	return inv.engine().Locked(ctx, fn)
}

// apply makes the live state the wanted one, or when a step fails, leaves it as
// it was. With --plan it prints the steps.
func (inv *invocation) apply(ctx context.Context, found *pod.Survey) error {
	if err := inv.refuseHost(); err != nil {
		return err
	}
	if found.LegacyHidden != nil {
		inv.log.Info("rules of an earlier run may be in the legacy variant, which cannot be looked at", errorField(found.LegacyHidden))
	}
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	plan, err := inv.engine().Apply(ctx, found, want)
	if err != nil {
		return err
	}
	inv.log.Info("variant of iptables chosen", stringField("variant", string(plan.Backend.Backend.Name())), stringField("reason", plan.Reason))
	for _, u := range plan.Unidentified {
		inv.log.Warn(unidentifiedText(u))
	}
	if inv.set.Plan {
		if err := errors.Join(plan.Remains...); err != nil {
			return err
		}
		return inv.print(plan.String())
	}
	return report.ExplainRefusal(plan.Run(ctx, inv.logEvent))
}

// refuseHost refuses to redirect the traffic of a whole machine.
func (inv *invocation) refuseHost() error {
	if inv.set.AllowHost {
		return nil
	}
	err := pod.RefuseHost()
	if host, isHost := errors.AsType[*pod.HostError](err); isHost {
		return fmt.Errorf("this seems to be the network namespace of a machine and not of a pod: %s; to allow it, pass --allow-host-network", host.Why)
	}
	return err
}

// unidentifiedText says why a rule counts as different though it may be the wanted one.
func unidentifiedText(u pod.Unidentified) string {
	return unreadableText(u.Family, u.Rule) + ": iptables was not asked, since " + u.Rule.Unasked
}

func unreadableText(f inet.Family, r iptables.UnreadableRule) string {
	return fmt.Sprintf("%s: unreadable rule in %s %s: %q counts as different from the wanted %q", f, r.Table, r.Chain, r.Text, r.Wanted.Text)
}
