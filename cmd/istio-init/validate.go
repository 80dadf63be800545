package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/capture/selftest"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// repairHint is for pods whose rules are made by a CNI plugin.
const repairHint = "where a CNI plugin makes the rules, it may not have been ready when the pod was started: " +
	"restart the pod, or let Istio's repair controller delete such pods (cni.repair.deletePods=true)"

// validate tests the rules by connections, in the network namespace of the calling thread.
// Scripts match the beginning of its first and last lines. ctx ends with --timeout, run only
// by a signal.
func (cmd *command) validate(ctx, run context.Context) error {
	if cmd.opts.Config.Mode == capture.None {
		cmd.log.Info("Validation passed, there is nothing to validate: mode NONE has no rules")
		cmd.result.Validated(0, 0, 0)
		return nil
	}
	probing, cancel := context.WithTimeout(ctx, cmd.opts.ProbeTimeout)
	defer cancel()
	plans, err := cmd.plans(probing)
	if err != nil {
		return &exitError{exitValidation, fmt.Errorf("validate the rules: %w", err)}
	}
	cmd.log.Info("Starting iptables validation: connections test whether the rules work",
		logging.Stringer("timeout", cmd.opts.ProbeTimeout))
	results := selftest.Run(probing, plans...)
	byTheRules := cmd.byTheRules(run, results)
	for _, r := range results {
		cmd.reportResult(r, byTheRules)
	}
	if err := selftest.Verdict(results); err != nil {
		return &exitError{exitValidation, fmt.Errorf("validation failed: %w; %s", err, repairHint)}
	}
	passed, differs, notChecked := count(results, selftest.Passed), count(results, selftest.Differs), count(results, selftest.NotChecked)
	cmd.log.Info("Validation passed, iptables rules established",
		logging.Int("passed", passed), logging.Int("differs", differs), logging.Int("not_checked", notChecked))
	cmd.result.Validated(passed, differs, notChecked)
	return nil
}

// plans returns the checks of each captured family.
func (cmd *command) plans(ctx context.Context) ([]selftest.Plan, error) {
	families, warnings, err := cmd.families()
	if err != nil {
		return nil, err
	}
	if cmd.opts.SkipApply { // else they were logged before
		for _, w := range warnings {
			cmd.log.Warn(w)
		}
	}
	addrs, addrsErr := netutil.Addrs(capture.Passthrough(inet.IPv6))
	powers, powersErr := netutil.SocketPowers()
	if err := errors.Join(addrsErr, powersErr); err != nil {
		return nil, err
	}
	if slices.Contains(families, inet.IPv6) { // the run may just have added it
		if err := netutil.AwaitLoopbackAddr(ctx, capture.Passthrough(inet.IPv6)); err != nil {
			return nil, err
		}
	}
	obstacles, unknown := tproxyObstacles(cmd.opts.Config)
	var plans []selftest.Plan
	for _, f := range families {
		env := selftest.Environment{Addr: podAddr(addrs, f), PathTo: netutil.PathTo, Powers: powers, Istio: cmd.opts.SkipApply, Unknown: unknown}
		for _, o := range obstacles {
			if o.Of(f) {
				env.Lost = append(env.Lost, report.ObstacleText(o))
			}
		}
		plans = append(plans, selftest.Prepare(cmd.opts.Config, f, cmd.opts.ProbePort, env))
	}
	return plans, nil
}

// podAddr returns the first address of a family.
func podAddr(addrs []netutil.Addr, f inet.Family) netip.Addr {
	for _, a := range addrs {
		if f.Has(a.IP) {
			return a.IP
		}
	}
	return netip.Addr{}
}

// byTheRules returns a function that says what the live rules do with a connection. If no
// check failed or the rules cannot be read, it returns "". The checks may have used up
// --timeout, so it begins anew.
func (cmd *command) byTheRules(ctx context.Context, results []selftest.Result) func(selftest.Probe) string {
	nothing := func(selftest.Probe) string { return "" }
	if !slices.ContainsFunc(results, func(r selftest.Result) bool { return r.Outcome == selftest.Failed }) {
		return nothing
	}
	ctx, cancel := context.WithTimeout(ctx, cmd.opts.Timeout)
	defer cancel()
	src, err := cmd.liveSource(ctx)
	if err == nil {
		err = cmd.readNetwork(src)
	}
	if err != nil {
		cmd.log.Debug("the live rules could not be read", logging.Error(err))
		return nothing
	}
	return func(p selftest.Probe) string {
		if !p.To.IsValid() {
			return ""
		}
		src.network.Proxy = proxyOwner(cmd.opts.Config)
		legs := path.Follow(src.Rules[p.Family], cmd.opts.Config, src.network, path.Connection{
			Proto: p.Proto, Owner: &p.Who, Src: netip.AddrPortFrom(p.From, 0), Dst: p.To, Mark: p.Mark,
		})
		return report.OutcomeText(legs[0], p.Family)
	}
}

// reportResult logs the result of one check.
func (cmd *command) reportResult(r selftest.Result, byTheRules func(selftest.Probe) string) {
	fields := []logging.Field{logging.Stringer("family", r.Family), logging.String("check", r.Name)}
	if connection := r.Connection(); connection != "" {
		fields = append(fields, logging.String("connection", connection))
	}
	lands := logging.Stringer("lands", r.Want)
	switch r.Outcome {
	case selftest.Passed:
		cmd.log.Info("check passed", append(fields, lands)...)
	case selftest.Differs:
		cmd.log.Info("check differs, as Istio's own rules do", append(fields, lands, logging.String("saw", r.Saw))...)
	case selftest.NotChecked:
		cmd.log.Warn("not checked", append(fields, logging.String("reason", r.Why))...)
	case selftest.Failed:
		fields = append(fields, lands, logging.String("saw", r.Saw), logging.String("cause", r.Why))
		if said := byTheRules(r.Probe); said != "" {
			fields = append(fields, logging.String("by_the_rules_that_stand", said))
		}
		cmd.log.Error("check failed", fields...)
	}
}

// count returns the number of results of one outcome.
func count(results []selftest.Result, of selftest.Outcome) (n int) {
	for _, r := range results {
		if r.Outcome == of {
			n++
		}
	}
	return n
}
