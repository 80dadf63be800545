package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

func newCheck(s streams) *cobra.Command {
	return withExitUnknown(newRuleCommand(s, &cobra.Command{
		Use:        "check",
		Short:      "report what is captured, or compare live rules with flags",
		SuggestFor: []string{"status", "verify", "diff", "show", "state", "validate", "doctor"},
		Long: `Without flags that describe rules: report what is captured in the network namespace,
and which flags make those rules. With such flags: compare the live state with what
"apply" would make it: rules, policy routing and the address ::6, in both families, both
variants of iptables and native nftables. Nothing is changed. Base chains of nftables that
may decide about connections are named; eBPF (at sockets, tc or XDP) and IPVS are not read.

With --all-namespaces: report on each network namespace of the machine, one a line: how it
is captured, by whom, and how the rules differ from the flags or, without flags, from what
the rules themselves are made of.`,
		Example: `  istio-init check
  istio-init check --require captured
  istio-init check -u 1337 -i '*' -b '*' -d 15090,15021,15020
  istio-init check --rules dump.txt
  istio-init check --all-namespaces`,
	}, options.Check, runCheck))
}

// runCheck compares the live rules with those of the flags, or without flags reports what
// is captured.
func runCheck(ctx context.Context, cmd *command) error {
	return cmd.ask(ctx, func(ctx context.Context) error {
		switch {
		case cmd.opts.AllNamespaces:
			return cmd.checkAll(ctx)
		case cmd.opts.RulesGiven && cmd.opts.Rules != options.RulesPlanned:
			return cmd.checkDrift(ctx)
		}
		return cmd.checkState(ctx)
	})
}

// checkState reports what is captured.
func (cmd *command) checkState(ctx context.Context) error {
	state, _, err := cmd.state(ctx)
	if err != nil {
		return err
	}
	switch err := cmd.show(state); {
	case err != nil:
		return err
	case state.Unknown():
		return &exitError{code: exitUnknown}
	case cmd.opts.Require && !state.Works():
		return &exitError{code: exitDrift}
	}
	return nil
}

// checkDrift reports how the live rules differ from those of the flags.
func (cmd *command) checkDrift(ctx context.Context) error {
	if cmd.opts.Require {
		return &inputError{errors.New("--require captured is not for a check of flags that describe rules: these ask for drift; omit one of them")}
	}
	drift, err := cmd.compare(ctx)
	if err != nil {
		return err
	}
	if err := cmd.show(drift); err != nil || drift.InOrder {
		return err
	}
	return &exitError{code: exitDrift}
}

// state returns what is captured, and the rules that it is about.
func (cmd *command) state(ctx context.Context) (report.State, *ruleSource, error) {
	src, err := cmd.source(ctx, inet.Families[:]...)
	if err != nil {
		return report.State{}, nil, err
	}
	src.follow()
	if src.Live {
		src.Caveats = append(src.Caveats, foreignChains(src.found)...)
		src.Problems = append(src.Problems, obstacleTexts(src.network.Obstacles)...)
	}
	args, variables := options.Arguments(src.Config, len(src.Captured()) == len(inet.Families))
	return report.NewState(src.Source, args, variables), src, nil
}

// compare returns the drift of the namespace, or of a dump.
func (cmd *command) compare(ctx context.Context) (*report.Drift, error) {
	if err := cmd.complete(ctx); err != nil {
		return nil, err
	}
	if from := cmd.opts.Rules; from != "" && from != options.RulesLive {
		d := report.NewDrift(dumpName(from))
		return d, cmd.compareDump(ctx, d, from)
	}
	d := report.NewDrift("")
	return d, cmd.compareLive(ctx, d)
}

// compareDump adds how the rules of a dump differ.
func (cmd *command) compareDump(ctx context.Context, d *report.Drift, file string) error {
	name, dump, err := cmd.readDump(ctx, file)
	if err != nil {
		return err
	}
	families, _ := pod.ChooseFamilies(cmd.opts.Families, cmd.opts.DualStack, addrsOf(dump), func() bool { return false })
	for _, w := range cmd.opts.Ineffective(families) {
		cmd.log.Warn(w)
	}
	rules := cmd.wantedIn(families).Rules()
	d.Notes, d.InOrder = editTexts(dump), true
	src := &ruleSource{}
	src.assumeNetwork(cmd.opts.PodAddrs)
	for _, rs := range dump.Compared(rules) {
		if err := cmd.compareState(d, dump.States[rs.Family], rs, src.network); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if d.InOrder && !dump.HasAnyOf(rules) {
		return fmt.Errorf("--rules: nothing to compare: %s", strings.Join(gapTexts(dump, inet.Families[:]...), "; "))
	}
	d.Caveats = append(d.Caveats, gapTexts(dump, inet.Families[:]...)...)
	d.Caveats = append(d.Caveats, "a dump has no routes, no addresses and no rules of the other variant of iptables")
	return nil
}

// compareState adds how the rules of one family in a dump differ from the wanted ones.
func (cmd *command) compareState(d *report.Drift, s iptables.Snapshot, want iptables.Ruleset, network path.Network) error {
	if infer.Ambient(s) {
		return infer.ErrAmbient
	}
	for _, table := range s.Unreadable {
		if len(want.Table(table).Chains) > 0 {
			return fmt.Errorf("%s: cannot compare it", unprintableText(s.Family, table))
		}
	}
	own := infer.Ownership(s)
	change := iptables.Plan(s, own, want)
	d.InOrder = d.InOrder && change.Empty()
	d.AddFamily(change, want)
	d.Warnings = append(append(d.Warnings, ahead(s, own, nothing)...), cmd.lost(s, want, network)...)
	for _, mesh := range infer.Meshes(s) {
		d.Warnings = append(d.Warnings, report.MeshBeside(want.Family, mesh))
	}
	d.Caveats = append(d.Caveats, unprintable(s)...)
	for _, r := range s.UnreadableRules(own, want) {
		d.Caveats = append(d.Caveats, unreadableText(want.Family, r))
	}
	return nil
}

// compareLive adds what is in the plan of an apply.
func (cmd *command) compareLive(ctx context.Context, d *report.Drift) error {
	found, err := cmd.engine().Survey(ctx)
	if err != nil {
		return err
	}
	defer found.Close()
	want, err := cmd.wanted()
	if err != nil {
		return err
	}
	if err := found.Unreadable(); err != nil { // its rules are unknown
		return err
	}
	plan, err := cmd.engine().Apply(ctx, found, want)
	if err != nil {
		return err
	}
	live := plan.Backend
	d.Backend, d.Variant = live.Backend.Name(), string(live.Backend.Name())
	for _, u := range plan.Unidentified {
		d.Caveats = append(d.Caveats, unidentifiedText(u))
	}
	rules := want.RulesFor(live.Backend.Name())
	for _, f := range inet.Families {
		d.AddFamily(plan.Change(f), rules[f])
		have := live.Families[f]
		d.Warnings = append(append(d.Warnings, ahead(have.Rules, have.Own, nothing)...), cmd.lost(have.Rules, rules[f], path.Network{Route: cmd.liveRoute})...)
		compareRouting(d, f, plan)
	}
	compareBeside(d, found, live, rules)
	d.Caveats = append(append(d.Caveats, unseen(found, live)...), foreignChains(found)...)
	comparePassthrough(d, plan)
	obstacles, err := tproxyObstacles(cmd.opts.Config)
	if err != nil {
		d.Caveats = append(d.Caveats, err.Error())
	}
	d.Problems = append(d.Problems, obstacleTexts(obstacles)...)
	d.InOrder = plan.Empty()
	return nil
}

// compareBeside adds the rules beside those of the chosen backend: foreign ones, and ours in other
// backends, which an apply removes.
func compareBeside(d *report.Drift, found *pod.Survey, chosen pod.State, want pod.Rules) {
	for _, r := range found.RulesBeside(chosen, want) {
		d.Warnings = append(d.Warnings, aheadText(r))
	}
	for _, beside := range found.Meshes() {
		d.Warnings = append(d.Warnings, report.MeshBeside(beside.Family, beside.Mesh))
	}
	for _, other := range found.States {
		if other.Backend != chosen.Backend && other.Holds() {
			d.Differs(report.Difference{Kind: report.OtherBackend, Backend: other.Backend.Name()})
		}
	}
	if len(found.Native) > 0 {
		d.Differs(report.Difference{Kind: report.NativeTables, Tables: found.Native})
	}
}

// compareRouting adds what differs in the policy routing of mode TPROXY.
func compareRouting(d *report.Drift, f inet.Family, plan *pod.Plan) {
	for _, step := range plan.Steps {
		switch s := step.(type) {
		case *pod.AddRouting:
			if s.Family == f {
				d.Differs(missingRouting(s)...)
			}
		case *pod.RemoveRouting:
			if s.Family == f {
				compareStale(d, s)
			}
		}
	}
}

// compareStale adds stale policy routing.
func compareStale(d *report.Drift, s *pod.RemoveRouting) {
	times := map[netutil.TProxyRoute]int{s.Keep: 1}
	for _, rule := range s.Rules {
		times[rule]++
		switch times[rule] {
		case 1:
			d.Differs(report.Difference{Kind: report.PolicyRuleStale, Family: &s.Family, Mark: rule.Mark, Table: rule.Table})
		case 2:
			d.Differs(report.Difference{Kind: report.PolicyRuleDuplicated, Family: &s.Family, Mark: rule.Mark, Table: rule.Table})
		}
	}
	for _, table := range s.Tables {
		d.Differs(report.Difference{Kind: report.RouteStale, Family: &s.Family, Table: table})
	}
}

// missingRouting returns what is missing of the wanted policy routing.
func missingRouting(s *pod.AddRouting) (missing []report.Difference) {
	for _, m := range []struct {
		is   bool
		kind report.DifferenceKind
	}{{s.NoRule, report.PolicyRuleMissing}, {s.NoRoute, report.RouteMissing}} {
		if m.is {
			missing = append(missing, report.Difference{Kind: m.kind, Family: &s.Family, Mark: s.Route.Mark, Table: s.Route.Table})
		}
	}
	return missing
}

// comparePassthrough adds a missing or stale source address of inbound IPv6 connections.
func comparePassthrough(d *report.Drift, plan *pod.Plan) {
	for _, step := range plan.Steps {
		switch s := step.(type) {
		case *pod.AddAddress:
			d.Differs(noPassthrough())
		case *pod.RemoveAddress:
			d.Differs(report.Difference{Kind: report.AddressStale, Address: &s.Addr})
		}
	}
}
