package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
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
	d.InOrder = len(d.Besides) == 0 && !slices.ContainsFunc(d.Families, func(f report.FamilyDrift) bool { return len(f.Lines) > 0 })
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
	for _, rs := range want {
		s := snapshots[rs.Family]
		d.AddFamily(iptables.Plan(s, rs), rs)
		warnAhead(d, rs.Family, s)
		d.Doubts = append(d.Doubts, unprintable(s)...)
		for _, r := range s.UnreadableRules(rs) {
			d.Doubts = append(d.Doubts, unreadableText(rs.Family, r))
		}
	}
	d.Dump = name
	d.Doubts = append(d.Doubts, "a dump of rules shows neither routes nor addresses, nor the other variant of iptables")
	return nil
}

func (inv *invocation) compareLive(ctx context.Context, d *report.Drift) error {
	found, err := inv.survey(ctx, nil)
	if err != nil {
		return err
	}
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	kernel, _, err := xtables.Choose(found.kernels, inv.set.Force, captured(want))
	if err != nil {
		return err
	}
	for _, k := range found.kernels {
		if err := k.Unseen(); err != nil { // its rules may be anything
			return err
		}
	}
	d.Variant = kernel.Variant().String()
	if d.Doubts, err = identify(ctx, kernel, want); err != nil {
		return err
	}
	for _, rs := range want {
		change, err := kernel.Plan(rs)
		if err != nil {
			return err
		}
		d.AddFamily(change, rs)
		warnAhead(d, rs.Family, kernel.State(rs.Family))
		if err := compareRoutes(d, rs.Family, routeFor(inv.set.Config, rs)); err != nil {
			return err
		}
	}
	for _, other := range found.kernels {
		if other != kernel && other.Holds() {
			d.Differs("rules of a mesh stand in the variant %s: every packet meets the rules of both variants", other.Variant())
		}
	}
	if len(found.native) > 0 {
		d.Differs("tables of Istio's native nftables stand, and capture as well: %s", strings.Join(found.native, ", "))
	}
	d.Doubts = append(d.Doubts, found.unseen(kernel)...)
	return comparePassthrough(d, len(want[inet.IPv6].Tables) > 0)
}

// warnAhead names the rules of others that may take traffic before ours see it.
func warnAhead(d *report.Drift, f inet.Family, s iptables.Snapshot) {
	for _, rule := range s.InTheWay() {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%s: a rule of others stands before ours and may take connections first: %s", f, rule))
	}
}

// compareRoutes compares the policy routing of mode TPROXY.
func compareRoutes(d *report.Drift, f inet.Family, want netutil.TProxyRoute) error {
	have, err := tproxyRoutes.List(f)
	if err != nil {
		return err
	}
	d.Besides = append(d.Besides, missingRoutes(f, have, want)...)
	times := map[netutil.TProxyRoute]int{}
	for _, rule := range have.Rules {
		times[rule]++
		switch {
		case times[rule] == 1 && rule != want:
			d.Differs("%s: the policy rule \"fwmark %#x lookup %d\" is of an earlier run", f, rule.Mark, rule.Table)
		case times[rule] == 2:
			d.Differs("%s: the policy rule \"fwmark %#x lookup %d\" is there more than once", f, rule.Mark, rule.Table)
		}
	}
	for _, table := range have.Tables {
		if table != want.Table {
			d.Differs("%s: the route \"local default dev lo table %d\" is of an earlier run", f, table)
		}
	}
	return nil
}

// missingRoutes is what of the wanted policy routing is not there. Wanting the zero
// route is wanting none.
func missingRoutes(f inet.Family, have netutil.Routing, want netutil.TProxyRoute) []string {
	var missing []string
	if want == (netutil.TProxyRoute{}) {
		return nil
	}
	if !slices.Contains(have.Rules, want) {
		missing = append(missing, fmt.Sprintf("%s: the policy rule \"fwmark %#x lookup %d\" is missing: what TPROXY marks is not delivered", f, want.Mark, want.Table))
	}
	if !slices.Contains(have.Tables, want.Table) {
		missing = append(missing, fmt.Sprintf("%s: the route \"local default dev lo table %d\" is missing: what TPROXY marks is not delivered", f, want.Table))
	}
	return missing
}

// comparePassthrough compares the source address of inbound IPv6 connections.
func comparePassthrough(d *report.Drift, wanted bool) error {
	if netutil.IPv6Off() && !wanted {
		return nil
	}
	there, ours, err := netutil.FindLoopbackAddr(passthroughV6)
	switch {
	case err != nil:
		return err
	case wanted && !there:
		d.Besides = append(d.Besides, noPassthrough())
	case !wanted && ours:
		d.Differs("%s/128 on lo is of an earlier run", passthroughV6)
	}
	return nil
}
