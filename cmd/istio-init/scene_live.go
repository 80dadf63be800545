package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// liveScene is the rules of the namespace: those of the variant that holds ours,
// or of the one that holds any.
func (inv *invocation) liveScene(ctx context.Context) (*scene, error) {
	engine := inv.engine()
	found, err := engine.Survey(ctx)
	if err != nil {
		return nil, err
	}
	live := engine.Live(found)
	if err := live.Unreadable(); err != nil { // its rules may be anything
		return nil, err
	}
	sc := &scene{Source: report.Source{Name: "the rules that stand", Variant: string(live.Backend.Name()), Live: true}, found: found}
	sc.Caveats = doubts(found, live)
	for _, f := range inet.Families {
		sc.Rules = append(sc.Rules, infer.Infer(live.Families[f].Rules.Ruleset()))
	}
	return sc, nil
}

// doubts are what the namespace has besides the rules of a backend.
func doubts(found *pod.Survey, live pod.State) []string {
	doubts := unseen(found, live)
	for _, other := range found.States {
		if other.Backend != live.Backend && other.Holds() {
			doubts = append(doubts, fmt.Sprintf("rules of a mesh stand in the variant %s too, which every packet meets as well", other.Backend.Name()))
		}
	}
	if len(found.Native) > 0 {
		doubts = append(doubts, "tables of Istio's native nftables stand besides, and capture as well: "+strings.Join(found.Native, ", "))
	}
	return doubts
}

// unseen is what the namespace may have besides what was read of a backend.
func unseen(found *pod.Survey, live pod.State) []string {
	var doubts []string
	for _, other := range found.States {
		switch err := other.Unreadable(); {
		case other.Backend == live.Backend:
		case err != nil:
			doubts = append(doubts, fmt.Sprintf("the variant %s could not be read: %v", other.Backend.Name(), err))
		case other.HoldsRules() && !other.Holds():
			doubts = append(doubts, fmt.Sprintf("rules of others stand in the variant %s, which every packet meets as well", other.Backend.Name()))
		}
		for _, f := range inet.Families {
			doubts = append(doubts, unprintable(other.Families[f].Rules)...)
		}
	}
	if found.LegacyHidden != nil {
		doubts = append(doubts, "the legacy variant could not be looked at: "+found.LegacyHidden.Error())
	}
	return doubts
}

// unprintable are the tables of a state that iptables could not print.
func unprintable(s iptables.Snapshot) []string {
	var doubts []string
	for _, table := range s.Unreadable {
		doubts = append(doubts, fmt.Sprintf("the %s table %s holds rules made by nft itself, which iptables cannot print", s.Family, table))
	}
	return doubts
}

// lookAround takes the addresses and the routes of the namespace.
func (inv *invocation) lookAround(sc *scene) error {
	addrs, err := netutil.Addrs(passthroughV6)
	if err != nil {
		return err
	}
	sc.known = true
	for _, a := range addrs {
		sc.own = append(sc.own, a.IP)
	}
	sc.route = func(dst netip.Addr) (string, netip.Addr) {
		path, err := netutil.PathTo(dst)
		if err != nil {
			inv.log.Debug("no way to an address", errorField(err))
		}
		return path.Interface, path.Src
	}
	return nil
}

// lookAtRoutes looks for what the rules need besides, and takes the number of the
// routing table, which the rules do not show.
func (sc *scene) lookAtRoutes() error {
	want := pod.Nothing()
	for _, r := range sc.Rules {
		f := r.Rules.Family
		if !r.Captures() || !sc.Config.ProxiesInbound() {
			continue
		}
		have := sc.found.Routing[f]
		if i := slices.IndexFunc(have.Rules, func(rule netutil.TProxyRoute) bool { return rule.Mark == sc.Config.TProxyMark }); i >= 0 {
			sc.Config.TProxyTable = have.Rules[i].Table
		}
		want.Routes[f] = netutil.TProxyRoute{Mark: sc.Config.TProxyMark, Table: sc.Config.TProxyTable}
	}
	want.Passthrough = sc.Rules[inet.IPv6].Captures()
	if sc.found.NeedsErr != nil && (want.Passthrough || sc.Config.ProxiesInbound()) {
		return sc.found.NeedsErr
	}
	for _, step := range sc.found.Missing(want) {
		switch s := step.(type) {
		case *pod.AddRouting:
			sc.Problems = append(sc.Problems, missingRouting(s)...)
		case *pod.AddAddress:
			sc.Problems = append(sc.Problems, noPassthrough())
		}
	}
	return nil
}

// noPassthrough says what it means that the source address of inbound IPv6
// connections is missing.
func noPassthrough() string {
	return passthroughV6.String() + "/128 is missing on lo: the proxy cannot connect to the app over IPv6"
}
