package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// liveScene is the rules of the namespace: those of the variant that holds ours,
// or of the one that holds any.
func (inv *invocation) liveScene(ctx context.Context) (*scene, error) {
	found, err := inv.survey(ctx, nil)
	if err != nil {
		return nil, err
	}
	k := found.standing(inv.set.Force)
	if err := k.Unseen(); err != nil { // its rules may be anything
		return nil, err
	}
	sc := &scene{name: "the rules that stand", variant: k.Variant().String(), live: true}
	sc.doubts = found.doubts(k)
	for _, f := range inet.Families {
		sc.readings = append(sc.readings, infer.Infer(k.State(f).Ruleset()))
	}
	return sc, nil
}

// standing is the variant that is asked for, or holds ours, or may hold them and
// could not be read, or else the one that holds any rules.
func (l live) standing(force *iptables.Variant) *iptables.Kernel {
	if force != nil {
		return l.kernels[*force]
	}
	unseen := func(k *iptables.Kernel) bool { return k.Unseen() != nil }
	for _, holds := range []func(*iptables.Kernel) bool{(*iptables.Kernel).Holds, unseen, holdsRules} {
		if i := slices.IndexFunc(l.kernels[:], holds); i >= 0 {
			return l.kernels[i]
		}
	}
	return l.kernels[0]
}

func holdsRules(k *iptables.Kernel) bool {
	return slices.ContainsFunc(inet.Families[:], func(f inet.Family) bool { return k.State(f).Rules() > 0 })
}

// doubts are what stands in the namespace and is not among the rules of a variant.
func (l live) doubts(k *iptables.Kernel) []string {
	doubts := l.unseen(k)
	for _, other := range l.kernels {
		if other != k && other.Holds() {
			doubts = append(doubts, fmt.Sprintf("rules of a mesh stand in the variant %s too, which every packet meets as well", other.Variant()))
		}
	}
	if len(l.native) > 0 {
		doubts = append(doubts, "tables of Istio's native nftables stand besides, and capture as well: "+strings.Join(l.native, ", "))
	}
	return doubts
}

// unseen is what may stand in the namespace besides what was read of a variant.
func (l live) unseen(k *iptables.Kernel) []string {
	var doubts []string
	for _, other := range l.kernels {
		switch err := other.Unseen(); {
		case other == k:
		case err != nil:
			doubts = append(doubts, fmt.Sprintf("the variant %s could not be read: %v", other.Variant(), err))
		case holdsRules(other) && !other.Holds():
			doubts = append(doubts, fmt.Sprintf("rules of others stand in the variant %s, which every packet meets as well", other.Variant()))
		}
		for _, f := range inet.Families {
			doubts = append(doubts, unprintable(other.State(f))...)
		}
	}
	if l.blind != nil {
		doubts = append(doubts, "the legacy variant could not be looked at: "+l.blind.Error())
	}
	return doubts
}

// unprintable are the tables of a state that iptables could not print.
func unprintable(s iptables.Snapshot) []string {
	var doubts []string
	for _, table := range s.Unreadable() {
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
	for _, r := range sc.readings {
		if !r.Captures() || !sc.config.ProxiesInbound() {
			continue
		}
		have, err := tproxyRoutes.List(r.Rules.Family)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(have.Rules, func(rule netutil.TProxyRoute) bool { return rule.Mark == sc.config.TProxyMark }); i >= 0 {
			sc.config.TProxyTable = have.Rules[i].Table
		}
		want := netutil.TProxyRoute{Mark: sc.config.TProxyMark, Table: sc.config.TProxyTable}
		sc.problems = append(sc.problems, missingRoutes(r.Rules.Family, have, want)...)
	}
	if !sc.readings[inet.IPv6].Captures() {
		return nil
	}
	there, _, err := netutil.FindLoopbackAddr(passthroughV6)
	if err == nil && !there {
		sc.problems = append(sc.problems, noPassthrough())
	}
	return err
}

// noPassthrough says what it means that the source address of inbound IPv6
// connections is missing.
func noPassthrough() string {
	return passthroughV6.String() + "/128 is missing on lo: the proxy cannot connect to the app over IPv6"
}
