package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
	"istio-init/iptables"
	"istio-init/netutil"
)

const (
	// mostNamespaces bounds what is read of a machine.
	mostNamespaces = 4096
	// readers is how many namespaces are read at a time. Most of the time is that of programs.
	readers = 4
	// oneNamespace is how long one may take: its processes may hold locks.
	oneNamespace = 10 * time.Second
)

// checkAll reports what is captured in each network namespace of the machine, one a line.
func (cmd *command) checkAll(ctx context.Context) error {
	if cmd.opts.Require {
		return &inputError{errors.New("--require captured is about one namespace: omit it, or --all-namespaces")}
	}
	list, err := netutil.ListNetNS(ctx)
	if err != nil {
		return err
	}
	compares := cmd.opts.RulesGiven
	if compares {
		if err := cmd.complete(ctx); err != nil {
			return err
		}
	}
	found := list.Found[:min(len(list.Found), mostNamespaces)]
	all := report.NewNamespaces(make([]report.Namespace, len(found)))
	all.Hidden, all.Stale, all.Skipped = list.Hidden, list.Stale, len(list.Found)-len(found)
	next := make(chan int)
	var wait sync.WaitGroup
	for range readers {
		wait.Go(func() {
			for i := range next {
				all.Namespaces[i] = cmd.checkOne(ctx, &found[i], compares)
			}
		})
	}
	for i := range found {
		next <- i
	}
	close(next)
	wait.Wait()
	if err := cmd.show(all); err != nil {
		return err
	}
	switch {
	case all.Drifts():
		return &exitError{code: exitDrift}
	case all.Unknown():
		return &exitError{code: exitUnknown}
	}
	return nil
}

// checkOne reads one namespace. It does not change the caller's namespace and log.
func (cmd *command) checkOne(ctx context.Context, n *netutil.NetNS, compares bool) report.Namespace {
	ctx, cancel := context.WithTimeout(ctx, oneNamespace)
	defer cancel()
	one, opts := *cmd, *cmd.opts
	one.opts, one.log = &opts, logging.Discard()
	out := report.Namespace{
		Inode: n.Inode(), Files: n.Files, PID: n.PID, Command: n.Command, Processes: n.Processes, Container: n.ID, PodUID: n.PodUID,
	}
	err := context.Cause(ctx)
	if err == nil {
		err = n.In(func() error { return one.readInto(ctx, &out, compares) })
	}
	if err != nil {
		out.Error, out.Gone = report.Explain(err).Error(), errors.Is(err, netutil.ErrNetNSGone)
	}
	return out
}

// readInto adds what is captured in the current namespace, and how the rules differ.
func (cmd *command) readInto(ctx context.Context, out *report.Namespace, compares bool) error {
	cmd.opts.Rules = options.RulesLive
	state, src, err := cmd.state(ctx)
	if err != nil {
		return err
	}
	out.State = &state
	if !state.Captures {
		return nil
	}
	if !compares {
		out.Inferred = true
		out.Drift = cmd.inferredDrift(src, state.Exact)
		return nil
	}
	d := report.NewDrift("")
	if err := cmd.compareLive(ctx, d); err != nil {
		state.Caveats = append(state.Caveats, fmt.Sprintf("not compared with the flags: %v", err))
		return nil
	}
	out.Drift = d
	return nil
}

// inferredDrift returns how live rules differ from those of the configuration that was
// inferred from them; nil if that makes no rules. exact says that they do not.
func (cmd *command) inferredDrift(src *ruleSource, exact bool) *report.Drift {
	if src.Config.Validate() != nil {
		return nil
	}
	live := cmd.live(src.found)
	want := pod.Wanted(src.Config, src.Captured())
	rules := want.RulesFor(live.Backend.Name())
	d := report.NewDrift("")
	d.Backend, d.Variant, d.InOrder = live.Backend.Name(), string(live.Backend.Name()), true
	for _, f := range src.Captured() {
		have := live.Families[f]
		change := iptables.Change{Family: f, Before: have.Rules, After: have.Rules, Own: have.Own}
		if !exact {
			change = iptables.Plan(have.Rules, have.Own, rules[f])
		}
		d.InOrder = d.InOrder && change.Empty()
		d.AddFamily(change, rules[f])
	}
	d.Differs(missing(src.found, want)...)
	d.InOrder = d.InOrder && len(d.Differences) == 0
	return d
}

// missing returns what wanted rules need besides themselves and the namespace lacks.
func missing(found *pod.Survey, want pod.Want) (all []report.Difference) {
	for _, step := range found.Missing(want) {
		switch s := step.(type) {
		case *pod.AddRouting:
			all = append(all, missingRouting(s)...)
		case *pod.AddAddress:
			all = append(all, noPassthrough())
		}
	}
	return all
}
