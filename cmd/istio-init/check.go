package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/cmd/istio-init/options"
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
			state := describe(sc)
			return inv.say(state, func(w io.Writer) error { return writeState(w, inv.pen, sc, state) })
		}
		found, err := inv.compare(ctx)
		if err != nil {
			return err
		}
		if err := inv.say(found, func(w io.Writer) error { return writeDrift(w, inv.pen, found) }); err != nil || found.InOrder {
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

// A drift is how what stands differs from what is wanted; also the form of check
// --output json.
type drift struct {
	InOrder  bool          `json:"in_order"`
	Variant  string        `json:"variant,omitempty"`
	Dump     string        `json:"dump,omitempty"` // what was compared, where it is not live
	Families []familyDrift `json:"families"`
	// Besides are differences that are no rules of the variant: routes, the
	// address ::6, what stands in the other variant.
	Besides  []string `json:"besides,omitempty"`
	Warnings []string `json:"warnings,omitempty"` // what may take traffic first
	Doubts   []string `json:"doubts,omitempty"`
}

type familyDrift struct {
	Family string      `json:"family"`
	Wanted int         `json:"wanted"` // rules
	Lines  []driftLine `json:"lines"`  // none: in order
}

// A driftLine is a line of a unified diff: a rule, or without one the chain itself.
// A rule that stands at another place is once unexpected and once missing.
type driftLine struct {
	Op     string `json:"op"` // "missing", "unexpected" or "same"
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	Rule   string `json:"rule,omitempty"`
	Reason string `json:"reason,omitempty"`

	hunk bool // lines that are the same stand before it and are not shown
}

func (d *drift) besides(format string, args ...any) {
	d.Besides = append(d.Besides, fmt.Sprintf(format, args...))
}

// compare finds the drift of the namespace, or of a dump.
func (inv *invocation) compare(ctx context.Context) (*drift, error) {
	d := &drift{}
	err := inv.complete()
	switch from := inv.set.Rules; {
	case err != nil:
	case from == "" || from == options.RulesLive:
		err = inv.compareLive(ctx, d)
	default:
		err = inv.compareDump(d, from)
	}
	d.InOrder = len(d.Besides) == 0 && !slices.ContainsFunc(d.Families, func(f familyDrift) bool { return len(f.Lines) > 0 })
	return d, err
}

func (inv *invocation) compareDump(d *drift, path string) error {
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
		d.family(iptables.Change{Family: rs.Family, Script: iptables.Plan(s, rs), Before: s, After: s.With(rs)}, rs)
		d.warn(rs.Family, s)
		d.Doubts = append(d.Doubts, unprintable(s)...)
		for _, r := range s.UnreadableRules(rs) {
			d.Doubts = append(d.Doubts, unreadableText(rs.Family, r))
		}
	}
	d.Dump = name
	d.Doubts = append(d.Doubts, "a dump of rules shows neither routes nor addresses, nor the other variant of iptables")
	return nil
}

func (inv *invocation) compareLive(ctx context.Context, d *drift) error {
	found, err := inv.survey(ctx, nil)
	if err != nil {
		return err
	}
	want, err := inv.wanted()
	if err != nil {
		return err
	}
	kernel, _, err := iptables.Choose(found.kernels, inv.set.Force, captured(want))
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
		d.family(change, rs)
		d.warn(rs.Family, kernel.State(rs.Family))
		if err := d.routes(rs.Family, routeFor(inv.set.Config, rs)); err != nil {
			return err
		}
	}
	for _, other := range found.kernels {
		if other != kernel && other.Holds() {
			d.besides("rules of a mesh stand in the variant %s: every packet meets the rules of both variants", other.Variant())
		}
	}
	if len(found.native) > 0 {
		d.besides("tables of Istio's native nftables stand, and capture as well: %s", strings.Join(found.native, ", "))
	}
	d.Doubts = append(d.Doubts, found.unseen(kernel)...)
	return d.passthrough(len(want[inet.IPv6].Tables) > 0)
}

// warn names the rules of others that may take traffic before ours see it.
func (d *drift) warn(f inet.Family, s iptables.Snapshot) {
	for _, rule := range s.InTheWay() {
		d.Warnings = append(d.Warnings, fmt.Sprintf("%s: a rule of others stands before ours and may take connections first: %s", f, rule))
	}
}

// routes compares the policy routing of mode TPROXY.
func (d *drift) routes(f inet.Family, want netutil.TProxyRoute) error {
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
			d.besides("%s: the policy rule \"fwmark %#x lookup %d\" is of an earlier run", f, rule.Mark, rule.Table)
		case times[rule] == 2:
			d.besides("%s: the policy rule \"fwmark %#x lookup %d\" is there more than once", f, rule.Mark, rule.Table)
		}
	}
	for _, table := range have.Tables {
		if table != want.Table {
			d.besides("%s: the route \"local default dev lo table %d\" is of an earlier run", f, table)
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

// passthrough compares the source address of inbound IPv6 connections.
func (d *drift) passthrough(wanted bool) error {
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
		d.besides("%s/128 on lo is of an earlier run", passthroughV6)
	}
	return nil
}
