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
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// repairHint is for pods whose rules a plugin of the node makes.
const repairHint = "where a CNI plugin makes the rules, it may not have been ready when the pod was started: " +
	"start the pod anew, or have Istio's repair controller delete such pods (cni.repair.deletePods=true)"

// validate proves the rules by connections, in the network namespace of the calling
// thread. Scripts look for its first words and its last.
func (inv *invocation) validate(ctx context.Context) error {
	if inv.set.Config.Mode == capture.None {
		inv.log.Info("Validation passed, there is nothing to validate: mode NONE has no rules")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, inv.set.ProbeTimeout)
	defer cancel()
	plans, err := inv.plans(ctx)
	if err != nil {
		return &exitError{exitUnproved, fmt.Errorf("validate the rules: %w", err)}
	}
	inv.log.Info("Starting iptables validation: connections show whether the rules do what they are for",
		namedField("timeout", inv.set.ProbeTimeout))
	results := selftest.Run(ctx, plans...)
	byTheRules := inv.byTheRules(results)
	for _, r := range results {
		inv.reportResult(r, byTheRules)
	}
	if err := selftest.Verdict(results); err != nil {
		return &exitError{exitUnproved, fmt.Errorf("validation failed: %w; %s", err, repairHint)}
	}
	inv.log.Info("Validation passed, iptables rules established", count(results, selftest.Passed), count(results, selftest.NotChecked))
	return nil
}

// plans are what is to be proved in each family that is captured.
func (inv *invocation) plans(ctx context.Context) ([]selftest.Plan, error) {
	families, warnings, err := inv.families()
	if err != nil {
		return nil, err
	}
	if inv.set.SkipApply { // else they were shown before
		for _, w := range warnings {
			inv.log.Warn(w)
		}
	}
	addrs, addrsErr := netutil.Addrs(passthroughV6)
	powers, powersErr := netutil.SocketPowers()
	if err := errors.Join(addrsErr, powersErr); err != nil {
		return nil, err
	}
	if slices.Contains(families, inet.IPv6) { // the run may just have added it
		if err := netutil.AwaitLoopbackAddr(ctx, passthroughV6); err != nil {
			return nil, err
		}
	}
	var plans []selftest.Plan
	for _, f := range families {
		here := selftest.Site{Addr: podAddr(addrs, f), PathTo: netutil.PathTo, Powers: powers}
		plans = append(plans, selftest.Prepare(inv.set.Config, f, inv.set.ProbePort, here))
	}
	return plans, nil
}

// podAddr is the first address of a family by which others reach the pod.
func podAddr(addrs []netutil.Addr, f inet.Family) netip.Addr {
	for _, a := range addrs {
		if f.Has(a.IP) {
			return a.IP
		}
	}
	return netip.Addr{}
}

// byTheRules returns what the rules that stand say of a connection, where one has
// failed and they can be read; else it knows nothing.
func (inv *invocation) byTheRules(results []selftest.Result) func(selftest.Probe) string {
	nothing := func(selftest.Probe) string { return "" }
	if !slices.ContainsFunc(results, func(r selftest.Result) bool { return r.Outcome == selftest.Failed }) {
		return nothing
	}
	ctx, cancel := context.WithTimeout(inv.ctx, inv.set.Timeout) // the validation may have used up its own time
	defer cancel()
	sc, err := inv.liveScene(ctx)
	if err == nil {
		err = inv.lookAround(sc)
	}
	if err != nil {
		inv.log.Debug("the rules that stand cannot be read", errorField(err))
		return nothing
	}
	return func(p selftest.Probe) string {
		site := path.Routes{Route: sc.route, Proxy: proxyOwner(inv.set.Config)}
		legs := path.Follow(sc.Rules[p.Family], inv.set.Config, site, path.Connection{
			Proto: p.Proto, Owner: &p.Who, Src: netip.AddrPortFrom(p.From, 0), Dst: p.To, Mark: p.Mark,
		})
		return report.OutcomeText(legs[0], p.Family)
	}
}

// reportResult tells of one connection, in one line.
func (inv *invocation) reportResult(r selftest.Result, byTheRules func(selftest.Probe) string) {
	fields := []field{namedField("family", r.Family), stringField("check", r.Name)}
	if connection := r.Connection(); connection != "" {
		fields = append(fields, stringField("connection", connection))
	}
	lands := namedField("lands", r.Lands)
	switch r.Outcome {
	case selftest.Passed:
		inv.log.Info("check passed", append(fields, lands)...)
	case selftest.NotChecked:
		inv.log.Warn("not checked", append(fields, stringField("reason", r.Why))...)
	case selftest.Failed:
		fields = append(fields, lands, stringField("saw", r.Saw), stringField("cause", r.Why))
		if said := byTheRules(r.Probe); said != "" {
			fields = append(fields, stringField("by_the_rules_that_stand", said))
		}
		inv.log.Error("check failed", fields...)
	}
}

// count counts the results of one outcome, for the log.
func count(results []selftest.Result, of selftest.Outcome) field {
	n := 0
	for _, r := range results {
		if r.Outcome == of {
			n++
		}
	}
	name := map[selftest.Outcome]string{selftest.Passed: "passed", selftest.NotChecked: "not_checked"}[of]
	return numberField(name, n)
}
