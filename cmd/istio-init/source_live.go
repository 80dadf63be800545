package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// liveSource returns the live rules of one backend, as [pod.Engine.Live]
// chooses it.
func (cmd *command) liveSource(ctx context.Context) (*ruleSource, error) {
	found, err := cmd.engine().Survey(ctx)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	live := cmd.live(found)
	if err := live.Unreadable(); err != nil { // its rules are unknown
		return nil, err
	}
	src := &ruleSource{Source: report.Source{Name: "the live rules", Variant: string(live.Backend.Name()), Live: true}, found: found}
	src.Caveats = caveats(found, live)
	for _, c := range slices.Concat(found.Chains, found.Misplaced) {
		src.network.BaseChains = append(src.network.BaseChains, path.BaseChain(c))
	}
	for _, f := range inet.Families {
		src.states[f] = live.Families[f].Rules
		rules := infer.Infer(src.states[f].Ruleset())
		rules.Whole = live.Backend.Name() == pod.NFTables
		src.Rules = append(src.Rules, rules)
		for _, other := range found.States {
			if other.Backend != live.Backend && !other.Holds() {
				src.Others = append(src.Others, infer.Infer(other.Families[f].Rules.Ruleset()))
			}
		}
	}
	return src, nil
}

// live returns the state that a question about live rules is about. --native-nftables says
// what an apply makes, and not what is there.
func (cmd *command) live(found *pod.Survey) pod.State {
	engine := cmd.engine()
	if cmd.opts.NativeNFT {
		engine.Force = ""
	}
	return engine.Live(found)
}

// caveats returns what the namespace has besides the rules of a backend.
func caveats(found *pod.Survey, live pod.State) []string {
	caveats := unseen(found, live)
	for _, other := range found.States {
		if other.Backend != live.Backend && other.Holds() {
			caveats = append(caveats, fmt.Sprintf("%s has rules of a mesh too, and every packet passes both", other.Backend.Name().Title()))
		}
	}
	if len(found.Native) > 0 {
		caveats = append(caveats, "tables of Istio's native nftables capture too: "+strings.Join(found.Native, ", "))
	}
	return caveats
}

// unseen returns what the namespace may have besides what was read of a backend.
func unseen(found *pod.Survey, live pod.State) []string {
	var caveats []string
	for _, other := range found.States {
		switch err := other.Unreadable(); {
		case other.Backend == live.Backend:
		case err != nil:
			caveats = append(caveats, fmt.Sprintf("%s could not be read: %v", other.Backend.Name().Title(), err))
		case other.Ambient():
			caveats = append(caveats, fmt.Sprintf("%s has the rules of Istio's ambient mode, and every packet passes both", other.Backend.Name().Title()))
		case other.HoldsRules() && !other.Holds():
			caveats = append(caveats, fmt.Sprintf("%s has foreign rules, and every packet passes both", other.Backend.Name().Title()))
		}
		for _, f := range inet.Families {
			caveats = append(caveats, unprinted(other.Families[f].Rules)...)
		}
	}
	misprinted, err := live.Misprinted()
	if err != nil {
		caveats = append(caveats, "not known whether iptables prints the rules of nft rightly: "+err.Error())
	}
	for _, c := range misprinted {
		if c.Chain == "" {
			caveats = append(caveats, fmt.Sprintf("%s: the table %s has too many rules to look for those that nft has made and iptables prints without a condition", c.Family, c.Table))
			continue
		}
		caveats = append(caveats, fmt.Sprintf("%s: nft has made rules in %s %s that iptables prints without a condition; \"nft list chain %s %s %s\" shows them",
			c.Family, c.Table, c.Chain, nftFamily(c.Family), c.Table, c.Chain))
	}
	if found.LegacyHidden != nil {
		caveats = append(caveats, "iptables-legacy could not be read: "+found.LegacyHidden.Error())
	}
	if found.ChainsErr != nil {
		caveats = append(caveats, "the chains of nftables are not known: "+found.ChainsErr.Error())
	}
	return caveats
}

// foreignChains returns the base chains of others, which may decide about connections. Trace
// has those alone that a connection enters.
func foreignChains(found *pod.Survey) []string {
	var caveats []string
	for _, c := range slices.Concat(found.Chains, found.Misplaced) {
		caveats = append(caveats, report.ChainText(path.BaseChain(c), "connections"))
	}
	return caveats
}

// unprintable names what iptables has not printed of a dump.
func unprintable(s iptables.Snapshot) []string {
	caveats := unprinted(s)
	for _, table := range s.Incomplete { // live they are known: see foreignChains
		caveats = append(caveats, fmt.Sprintf("the %s table %s has base chains made by nft, which iptables does not print; \"nft list table %s %s\" does",
			s.Family, table, nftFamily(s.Family), table))
	}
	return caveats
}

// nftFamily returns the name of a family of nftables.
func nftFamily(f inet.Family) string { return inet.PerFamily[string]{"ip", "ip6"}[f] }

// unprinted names the tables that iptables cannot print.
func unprinted(s iptables.Snapshot) []string {
	var caveats []string
	for _, table := range s.Unreadable {
		caveats = append(caveats, unprintableText(s.Family, table))
	}
	return caveats
}

func unprintableText(f inet.Family, table string) string {
	return fmt.Sprintf("the %s table %s has rules made by nft, which iptables cannot print", f, table)
}

// readNetwork reads the addresses of the namespace, and uses its routes.
func (cmd *command) readNetwork(src *ruleSource) error {
	addrs, err := netutil.Addrs(capture.Passthrough(inet.IPv6))
	if err != nil {
		return err
	}
	src.known = true
	for _, a := range addrs {
		src.own = append(src.own, a.IP)
	}
	loUp, _, err := netutil.Link("lo")
	if err != nil {
		return err
	}
	src.network.Own = src.isOwn
	src.network.Route = func(q path.RouteQuery) path.Route {
		if from := q.Src.Addr(); q.In == "" && from.IsValid() && !src.isOwn(from) { // a transparent socket has it
			q.Src = netip.AddrPortFrom(netip.Addr{}, q.Src.Port())
		}
		r := cmd.liveRoute(q)
		if q.In == "" && r.Device == "lo" && !loUp {
			r = path.Route{Failure: path.Unrouted}
		}
		return r
	}
	src.network.HasAddress = func(device string, f inet.Family) bool {
		_, has, err := netutil.Link(device)
		return err != nil || has[f]
	}
	if src.network.Obstacles, err = tproxyObstacles(src.Config); err != nil {
		src.Caveats = append(src.Caveats, err.Error())
	}
	return nil
}

// tproxyObstacles returns the sysctls of the namespace by which packets of a configuration
// are lost.
func tproxyObstacles(c capture.Config) ([]capture.Obstacle, error) {
	if !c.ProxiesInbound() {
		return nil, nil
	}
	found, err := pod.TProxyObstacles()
	if err != nil {
		err = fmt.Errorf("not known whether the sysctls let mode TPROXY work: %w", err)
	}
	return found, err
}

func obstacleTexts(obstacles []capture.Obstacle) (texts []string) {
	for _, o := range obstacles {
		texts = append(texts, report.ObstacleText(o))
	}
	return texts
}

// liveRoute asks the kernel for a route.
func (cmd *command) liveRoute(q path.RouteQuery) path.Route {
	got, err := netutil.Route(netutil.RouteQuery{Proto: uint8(q.Proto), Src: q.Src, Dst: q.Dst, Mark: q.Mark, UID: q.UID, In: q.In, Out: q.Out})
	if err == nil {
		return path.Route{Device: got.Interface, Src: got.Src}
	}
	if q.In != "" && errors.Is(err, netutil.ErrNoInterface) { // it may come later
		q.In, q.Src = "", netip.AddrPort{}
		return cmd.liveRoute(q)
	}
	cmd.log.Debug("no route to an address", logging.Error(err))
	for errno, failure := range routeFailures {
		if errors.Is(err, errno) {
			return path.Route{Failure: failure}
		}
	}
	return path.Route{Failure: path.Unrouted}
}

var routeFailures = map[error]path.RouteFailure{
	netutil.ErrUnreachable: path.Unreachable, netutil.ErrBlackhole: path.Blackhole,
	netutil.ErrProhibited: path.Prohibited, netutil.ErrSource: path.Rejected,
}

// checkNeeds adds as problems what the rules need and the namespace lacks: policy routing
// and ::6. It takes the number of the routing table from there, since rules do not have it.
func (src *ruleSource) checkNeeds() error {
	want := pod.Nothing()
	for _, r := range src.Rules {
		f := r.Rules.Family
		if !r.Captures() || !src.Config.ProxiesInbound() {
			continue
		}
		have := src.found.Routing[f]
		if i := slices.IndexFunc(have.Rules, func(rule netutil.TProxyRoute) bool { return rule.Mark == src.Config.TProxyMark }); i >= 0 {
			src.Config.TProxyTable = have.Rules[i].Table
		}
		want.Routes[f] = netutil.TProxyRoute{Mark: src.Config.TProxyMark, Table: src.Config.TProxyTable}
	}
	want.Passthrough = src.Rules[inet.IPv6].Captures()
	if src.found.NeedsErr != nil && (want.Passthrough || src.Config.ProxiesInbound()) {
		return src.found.NeedsErr
	}
	for _, difference := range missing(src.found, want) {
		src.Problems = append(src.Problems, difference.String())
	}
	return nil
}

// noPassthrough is the problem that the source address of inbound IPv6 connections is
// missing.
func noPassthrough() report.Difference {
	return report.Difference{Kind: report.AddressMissing, Address: new(capture.Passthrough(inet.IPv6))}
}
