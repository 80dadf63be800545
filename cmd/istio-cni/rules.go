package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"istio-init/capture"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/logging"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// engine returns the engine for a network namespace, with the programs of the node's system
// directories: nothing of the environment chooses what is run.
func engine(netNS string, run *options.Run, log *logging.Logger) pod.Engine {
	e := pod.Engine{Options: pod.Options{NetNS: netNS, Outside: true}, Report: func(event pod.Event) { logEvent(log, event) }}
	e.Now = time.Now
	if run.NativeNFT {
		e.Force = pod.NFTables
	}
	return e
}

// wanted returns what the current network namespace should have.
func wanted(run *options.Run, log *logging.Logger) (pod.Want, error) {
	addrs, err := netutil.Addrs(capture.Passthrough(inet.IPv6))
	if err != nil {
		return pod.Nothing(), err
	}
	families, caveat := pod.ChooseFamilies(run.Families, run.DualStack, addrs, netutil.IPv6Off)
	if caveat.NoAddress {
		log.Warn("the pod has no address but loopback and link-local ones, by which its families are chosen")
	}
	for _, a := range caveat.Uncaptured {
		log.Warn("IPv6 is not captured, inbound or outbound: dual-stack captures it", logging.String("address", a.IP.String()), logging.String("interface", a.Interface))
	}
	for _, w := range run.Ineffective(families) {
		log.Warn(w)
	}
	config := run.Config
	if run.RedirectDNS {
		config.DNS = pod.CapturedDNS(true, nil)
	}
	return pod.Wanted(config, families), nil
}

// apply makes the rules of the pod.
func (c *call) apply(ctx context.Context, log *logging.Logger) error {
	for _, w := range c.Options.Warnings { // in the words of flags
		log.Debug(w)
	}
	run := &c.Options.Run
	e := engine(c.args.Netns, run, log)
	return e.Locked(ctx, func(ctx context.Context, found *pod.Survey) error {
		want, err := wanted(run, log)
		if err != nil {
			return err
		}
		plan, err := e.Apply(ctx, found, want)
		if err != nil {
			return err
		}
		c.backend = string(plan.Backend.Backend.Name())
		return plan.Run(ctx, e.Report)
	}, nil)
}

// compare compares the rules of the pod with the wanted ones.
func (c *call) compare(ctx context.Context, log *logging.Logger) error {
	run := &c.Options.Run
	return netutil.InNetNS(c.args.Netns, func() error {
		plan, err := planned(ctx, engine("", run, log), run, log)
		if err != nil {
			return err
		}
		c.backend = string(plan.Backend.Backend.Name())
		if plan.Empty() {
			return nil
		}
		return &types.Error{Code: codeDrift, Msg: line(errors.New(drift(plan))), Details: bounded(plan.String())}
	})
}

// planned returns what an apply would do in the current network namespace.
func planned(ctx context.Context, e pod.Engine, run *options.Run, log *logging.Logger) (*pod.Plan, error) {
	found, err := e.Survey(ctx)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	want, err := wanted(run, log)
	if err != nil {
		return nil, err
	}
	return e.Apply(ctx, found, want)
}

// drift names the first rule that differs, or else the first step that is missing.
func drift(plan *pod.Plan) string {
	for _, f := range inet.Families {
		for _, l := range plan.Change(f).Diff() {
			is := map[iptables.Op]string{iptables.Added: "is missing", iptables.Removed: "is unexpected"}[l.Op]
			switch {
			case is == "":
			case l.IsChain():
				return fmt.Sprintf("the rules have changed: %s: chain %s %s %s", f, l.Place.Table, l.Place.Chain, is)
			default:
				return fmt.Sprintf("the rules have changed: %s: rule %q of %s %s %s", f, l.Rule.Text, l.Place.Table, l.Place.Chain, is)
			}
		}
	}
	if len(plan.Steps) > 0 {
		return "the network namespace has changed: missing: " + strings.TrimSpace(plan.Steps[0].String())
	}
	return "the network namespace has changed"
}
