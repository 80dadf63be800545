package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A ruleSource is the rules that trace, check or explain is about, and the addresses and
// routes of the pod.
type ruleSource struct {
	report.Source
	found   *pod.Survey          // of live rules
	states  states               // of live rules, or those of a file
	own     []netip.Addr         // addresses of the pod, without those of loopback
	known   bool                 // own is complete
	assumed netip.Addr           // one of own that may not be the pod's
	absent  inet.PerFamily[bool] // the families that a dump does not have
	network path.Network
}

// defaultDevice is the interface of the pod, if no namespace tells it.
const defaultDevice = "eth0"

// Addresses of the pod and of a peer, if none are known: from the ranges for
// documentation (RFC 5737, RFC 3849).
var (
	somePod = inet.PerFamily[netip.Addr]{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}
	peer    = inet.PerFamily[netip.Addr]{netip.MustParseAddr("192.0.2.99"), netip.MustParseAddr("2001:db8::99")}
)

// source returns the live rules, the rules of the flags, or those of a file, as --rules
// says. What the rules do not tell is of the families that the question is about.
func (cmd *command) source(ctx context.Context, about ...inet.Family) (*ruleSource, error) {
	var src *ruleSource
	var err error
	switch from := cmd.opts.RulesFrom(); from {
	case options.RulesLive:
		src, err = cmd.liveSource(ctx)
	case options.RulesPlanned:
		src, err = cmd.plannedSource(ctx)
	default:
		src, err = cmd.dumpSource(ctx, from, about)
	}
	if err != nil {
		return nil, err
	}
	if src.Config = infer.Configuration(src.Rules...); cmd.opts.RulesFrom() == options.RulesPlanned {
		src.Config = cmd.opts.Config // also what cannot be inferred from rules
	}
	if src.Live {
		err = src.checkNeeds()
	}
	// Planned rules for a given namespace apply to its connections.
	if src.Live || cmd.opts.NetNS != "" && len(cmd.opts.PodAddrs) == 0 && cmd.opts.RulesFrom() == options.RulesPlanned {
		return src, errors.Join(err, cmd.readNetwork(src))
	}
	src.assumeNetwork(cmd.opts.PodAddrs)
	return src, nil
}

// assumeNetwork assumes the addresses and the routes of the pod.
func (src *ruleSource) assumeNetwork(addrs []netip.Addr) {
	src.own, src.known = slices.Clone(addrs), len(addrs) > 0
	for _, f := range inet.Families {
		if !slices.ContainsFunc(src.own, f.Has) {
			src.own = append(src.own, somePod[f])
		}
	}
	src.network = path.Network{Route: src.guess, Assumed: true}
}

// explainRules warns of options that have no effect on the rules that are used.
func (cmd *command) explainRules() {
	from := cmd.opts.RulesFrom()
	if from == options.RulesLive && len(cmd.opts.PodAddrs) > 0 {
		cmd.log.Warn("--pod-address has no effect on live rules: the addresses are those of the namespace")
	}
	if from != options.RulesPlanned && cmd.opts.RulesGiven {
		cmd.log.Warn("the flags that describe rules have no effect: the rules are those of --rules")
	}
}

// plannedSource returns the rules of the flags.
func (cmd *command) plannedSource(ctx context.Context) (*ruleSource, error) {
	want, err := cmd.planned(ctx)
	if err != nil {
		return nil, err
	}
	src := &ruleSource{Source: report.Source{Name: "the rules of these flags"}}
	for _, rs := range want.Rules() {
		src.Rules = append(src.Rules, infer.Infer(rs))
	}
	return src, nil
}

// states are the rules of both families.
type states = inet.PerFamily[iptables.Snapshot]

// isOwn reports whether an address is the pod's.
func (src *ruleSource) isOwn(a netip.Addr) bool {
	return a.IsLoopback() || isPassthrough(a) || slices.Contains(src.own, a)
}

// assumeLocal treats an address as the pod's, if the addresses of the pod are unknown.
func (src *ruleSource) assumeLocal(a netip.Addr) {
	if a.IsValid() && !src.known && !src.isOwn(a) {
		src.own, src.assumed = append(src.own, a), a
	}
}

// sayAssumed says that the destination is assumed to be the pod's. If the connection ends
// elsewhere as one that the pod forwards, which follow tells, that is a caveat.
func (src *ruleSource) sayAssumed(local path.Hop, follow func() path.Hop) {
	src.own = slices.DeleteFunc(src.own, func(a netip.Addr) bool { return a == src.assumed })
	forwarded := follow()
	src.own = append(src.own, src.assumed)
	text := fmt.Sprintf("%s is taken for the pod's own address; --pod-address tells", src.assumed)
	if forwarded.Outcome == local.Outcome && forwarded.Port == local.Port && (local.Uncertain() || !forwarded.Uncertain()) {
		src.Notes = append(src.Notes, text)
		return
	}
	src.Caveats = append(src.Caveats, text+". If it is not: "+report.OutcomeText(forwarded, inet.Of(src.assumed)))
}

// guess returns the route of a connection without a namespace: lo for the addresses of the
// pod, the default device for all others.
func (src *ruleSource) guess(q path.RouteQuery) path.Route {
	dst := q.Dst.Addr()
	f := inet.Of(dst)
	r := path.Route{Device: defaultDevice, Src: src.pod(f)}
	switch {
	case dst.IsLoopback():
		r = path.Route{Device: "lo", Src: f.Localhost()}
	case src.isOwn(dst):
		r = path.Route{Device: "lo", Src: dst}
	}
	r.Device = cmp.Or(q.Out, r.Device)
	return r
}

// pod returns the address of the pod in a family.
func (src *ruleSource) pod(f inet.Family) netip.Addr {
	if i := slices.IndexFunc(src.own, f.Has); i >= 0 {
		return src.own[i]
	}
	return f.Localhost()
}
