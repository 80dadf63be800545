package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/capture/infer"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// runCheck compares what stands with what the flags would make, or without flags
// tells what is captured.
func runCheck(inv *invocation) error {
	return inv.inNetNS(func(ctx context.Context) error {
		if !inv.set.RulesGiven || inv.set.Rules == options.RulesPlanned {
			sc, err := inv.scene(ctx)
			if err != nil {
				return err
			}
			args, variables := options.Arguments(sc.Config, len(sc.Captured()) == len(inet.Families))
			return inv.show(report.NewState(sc.Source, args, variables))
		}
		found, err := inv.compare(ctx)
		if err != nil {
			return err
		}
		if err := inv.show(found); err != nil || found.InOrder {
			return err
		}
		return &exitError{code: exitDrifted}
	})
}

// endsNotLooked makes every error of a command one with the exit code of a check
// that could not be made, but for the answer that the rules have drifted: also wrong
// flags tell nothing of the rules.
func endsNotLooked(cmd *cobra.Command) *cobra.Command {
	notLooked := func(err error) error {
		var coded *exitError
		if err == nil || errors.As(err, &coded) {
			return err
		}
		return &exitError{code: exitNotLooked, err: err}
	}
	arguments, run := cmd.Args, cmd.RunE
	cmd.Args = func(cmd *cobra.Command, args []string) error { return notLooked(arguments(cmd, args)) }
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return notLooked(run(cmd, args)) }
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return notLooked(err) })
	return cmd
}

// compare finds the drift of the namespace, or of a dump.
func (inv *invocation) compare(ctx context.Context) (*report.Drift, error) {
	d := &report.Drift{}
	err := inv.complete()
	switch from := inv.set.Rules; {
	case err != nil:
	case from == "" || from == options.RulesLive:
		err = inv.compareLive(ctx, d)
	default:
		err = inv.compareDump(d, from)
	}
	return d, err
}

func (inv *invocation) compareDump(d *report.Drift, path string) error {
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	name, snapshots, err := inv.readDump(path)
	if err != nil {
		return err
	}
	d.InOrder = true
	for _, rs := range want.Rules {
		s := snapshots[rs.Family]
		own := infer.Ownership(s)
		change := iptables.Plan(s, own, rs)
		d.InOrder = d.InOrder && change.Script == ""
		d.AddFamily(change, rs)
		warnAhead(d, rs.Family, s, own)
		d.Doubts = append(d.Doubts, unprintable(s)...)
		for _, r := range s.UnreadableRules(own, rs) {
			d.Doubts = append(d.Doubts, unreadableText(rs.Family, r))
		}
	}
	d.Dump = name
	d.Doubts = append(d.Doubts, "a dump of rules shows neither routes nor addresses, nor the other variant of iptables")
	return nil
}

// compareLive reports what is in the plan of an apply.
func (inv *invocation) compareLive(ctx context.Context, d *report.Drift) error {
	found, err := inv.engine().Survey(ctx)
	if err != nil {
		return err
	}
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	if err := found.Unreadable(); err != nil { // its rules may be anything
		return err
	}
	plan, err := inv.engine().Apply(ctx, found, want)
	if err != nil {
		return err
	}
	live := plan.Backend
	d.Variant = string(live.Backend.Name())
	for _, u := range plan.Unidentified {
		d.Doubts = append(d.Doubts, unidentifiedText(u))
	}
	for _, f := range inet.Families {
		d.AddFamily(plan.Change(f), want.Rules[f])
		warnAhead(d, f, live.Families[f].Rules, live.Families[f].Own)
		compareRouting(d, f, plan)
	}
	for _, other := range found.States {
		if other.Backend != live.Backend && other.Holds() {
			d.Differs("rules of a mesh stand in the variant %s: every packet meets the rules of both variants", other.Backend.Name())
		}
	}
	if len(found.Native) > 0 {
		d.Differs("tables of Istio's native nftables stand, and capture as well: %s", strings.Join(found.Native, ", "))
	}
	d.Doubts = append(d.Doubts, unseen(found, live)...)
	comparePassthrough(d, plan)
	d.InOrder = plan.Empty()
	return nil
}

// warnAhead names the rules of others that may take traffic before ours see it.
func warnAhead(d *report.Drift, f inet.Family, s iptables.Snapshot, own iptables.Ownership) {
	for _, at := range iptables.Preempting(s, own) {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%s: a rule of others stands before ours and may take connections first: %s", f, s.TextAt(at)))
	}
}

// compareRouting reports the steps of the policy routing of mode TPROXY.
func compareRouting(d *report.Drift, f inet.Family, plan *pod.Plan) {
	for _, step := range plan.Steps {
		switch s := step.(type) {
		case *pod.AddRouting:
			if s.Family == f {
				d.Besides = append(d.Besides, missingRouting(s)...)
			}
		case *pod.RemoveRouting:
			if s.Family == f {
				compareStale(d, s)
			}
		}
	}
}

// compareStale reports policy routing of earlier runs.
func compareStale(d *report.Drift, s *pod.RemoveRouting) {
	times := map[netutil.TProxyRoute]int{s.Keep: 1}
	for _, rule := range s.Rules {
		times[rule]++
		switch times[rule] {
		case 1:
			d.Differs("%s: the policy rule \"fwmark %#x lookup %d\" is of an earlier run", s.Family, rule.Mark, rule.Table)
		case 2:
			d.Differs("%s: the policy rule \"fwmark %#x lookup %d\" is there more than once", s.Family, rule.Mark, rule.Table)
		}
	}
	for _, table := range s.Tables {
		d.Differs("%s: the route \"local default dev lo table %d\" is of an earlier run", s.Family, table)
	}
}

// missingRouting says what of the wanted policy routing is missing.
func missingRouting(s *pod.AddRouting) []string {
	var missing []string
	if s.NoRule {
		missing = append(missing, fmt.Sprintf("%s: the policy rule \"fwmark %#x lookup %d\" is missing: what TPROXY marks is not delivered", s.Family, s.Route.Mark, s.Route.Table))
	}
	if s.NoRoute {
		missing = append(missing, fmt.Sprintf("%s: the route \"local default dev lo table %d\" is missing: what TPROXY marks is not delivered", s.Family, s.Route.Table))
	}
	return missing
}

// comparePassthrough reports the steps of the source address of inbound IPv6 connections.
func comparePassthrough(d *report.Drift, plan *pod.Plan) {
	for _, step := range plan.Steps {
		switch s := step.(type) {
		case *pod.AddAddress:
			d.Besides = append(d.Besides, noPassthrough())
		case *pod.RemoveAddress:
			d.Differs("%s/128 on lo is of an earlier run", s.Addr)
		}
	}
}
