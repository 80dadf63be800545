package infer

import (
	"reflect"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// Istio puts rules straight into built-in chains, where no name says whose they are. This
// file recognises them by what only Istio's tools write: form, values and place. A rule for
// which there is no proof is foreign.

// leftovers returns the rules of built-in chains that are Istio's, without the jumps to its
// chains.
func leftovers(s iptables.Snapshot, own iptables.Ownership) map[iptables.Place]bool {
	if len(own.Chains) == 0 || hasChainOfKuma(s) {
		return nil // Kuma uses the same numbers for DNS
	}
	l := leftoverFinder{own: own, rules: map[iptables.Place]bool{}}
	nat, mangle := s.Table(iptables.NAT), s.Table(iptables.Mangle)
	l.virtualInterfaces(nat)
	l.dnsQueries(nat)
	l.zones(s.Table(iptables.Raw))
	if !own.Has(iptables.Mangle, capture.ChainOutput) { // where our own marks are
		l.marks(mangle)
	}
	if len(l.rules) > 0 { // Istio wrote this state: we never write such rules
		l.excludedInterfaces(nat)
		l.excludedInterfaces(mangle)
	}
	l.guardrails(s.Table(iptables.Filter))
	return l.rules
}

func hasChainOfKuma(s iptables.Snapshot) bool {
	return slices.ContainsFunc(s.Tables, func(t iptables.LiveTable) bool {
		return slices.ContainsFunc(t.Chains, func(c iptables.LiveChain) bool { return strings.HasPrefix(c.Name, "KUMA_") })
	})
}

type leftoverFinder struct {
	own   iptables.Ownership
	rules map[iptables.Place]bool
}

// add adds the rules of a chain for which is holds; only the first of them with once.
func (l leftoverFinder) add(t iptables.LiveTable, chain string, once bool, is func(iptables.Rule) bool) {
	for i, r := range t.Chain(chain).Rules {
		at := iptables.Place{Table: t.Name, Chain: chain, Index: i}
		if !l.rules[at] && is(r.Rule) {
			if l.rules[at] = true; once {
				return
			}
		}
	}
}

// guardrails are the six rules with which Istio drops a pod's traffic while it changes its
// rules, and which stay when it is killed then: the first two of each chain, in a pod that
// has Istio's chains. A part of them proves nothing.
func (l leftoverFinder) guardrails(t iptables.LiveTable) {
	chains := iptables.BuiltinChains(iptables.Filter)
	for _, chain := range chains {
		rules := t.Chain(chain).Rules
		if len(rules) < 2 || !dropsAll(rules[0].Rule, rules[1].Rule) {
			return
		}
	}
	for _, chain := range chains {
		for i := range 2 {
			l.rules[iptables.Place{Table: t.Name, Chain: chain, Index: i}] = true
		}
	}
}

// dropsAll reports whether two rules drop all TCP and all UDP, in either order.
func dropsAll(one, two iptables.Rule) bool {
	return drops(one, iptables.TCP) && drops(two, iptables.UDP) || drops(one, iptables.UDP) && drops(two, iptables.TCP)
}

func drops(r iptables.Rule, p iptables.Proto) bool {
	return is(r, iptables.Match{Proto: p}, iptables.Drop)
}

// virtualInterfaces are "-i IF -j RETURN" where the same chain redirects the same interface (-k).
func (l leftoverFinder) virtualInterfaces(t iptables.LiveTable) {
	redirect := iptables.Jump{Chain: capture.ChainRedirect}
	for _, r := range t.Chain(iptables.Prerouting).Rules {
		m := iptables.Match{In: r.Rule.In, Dst: r.Rule.Dst}
		if m.In.Set && !m.In.Neg && !m.Dst.Neg && is(r.Rule, m, redirect) {
			leaves := iptables.Match{In: m.In}
			if !l.has(t, iptables.Prerouting, leaves) {
				l.add(t, iptables.Prerouting, true, func(r iptables.Rule) bool { return is(r, leaves, iptables.Return) })
			}
		}
	}
}

// has reports whether a rule that returns such packets is already known.
func (l leftoverFinder) has(t iptables.LiveTable, chain string, m iptables.Match) bool {
	for i, r := range t.Chain(chain).Rules {
		if l.rules[iptables.Place{Table: t.Name, Chain: chain, Index: i}] && is(r.Rule, m, iptables.Return) {
			return true
		}
	}
	return false
}

// dnsQueries are the rules for DNS of releases before 1.25, which are in nat OUTPUT.
func (l leftoverFinder) dnsQueries(t iptables.LiveTable) {
	redirected := func(r iptables.Rule) bool {
		return !r.Dst.Neg && (r.Proto == iptables.TCP || r.Proto == iptables.UDP) &&
			is(r, iptables.Match{Dst: r.Dst, Proto: r.Proto, DPort: toDNS}, iptables.Redirect{Port: capture.DNSProxyPort})
	}
	if !slices.ContainsFunc(t.Chain(iptables.Output).Rules, func(r iptables.LiveRule) bool { return redirected(r.Rule) }) {
		return
	}
	l.add(t, iptables.Output, false, func(r iptables.Rule) bool {
		return redirected(r) ||
			ofOneOwner(r) && is(r, iptables.Match{Proto: iptables.UDP, DPort: toDNS, UIDs: r.UIDs, GIDs: r.GIDs}, iptables.Return)
	})
}

var toDNS = iptables.Is(iptables.Port(capture.DNSPort))

// ofOneOwner reports whether a rule is for one user or one group.
func ofOneOwner(r iptables.Rule) bool {
	owners := slices.Concat(r.UIDs, r.GIDs)
	return len(owners) == 1 && !owners[0].Neg
}

// zones are the conntrack zones of DNS of releases before 1.25.
func (l leftoverFinder) zones(t iptables.LiveTable) {
	for _, chain := range iptables.BuiltinChains(iptables.Raw) {
		l.add(t, chain, false, isZoneOfDNS)
	}
}

func isZoneOfDNS(r iptables.Rule) bool {
	zone, ok := r.Target.(iptables.Zone)
	if !ok || zone.Original || zone.ID != 1 && zone.ID != 2 || r.Src.Set && r.Dst.Set || r.Src.Neg || r.Dst.Neg || len(r.UIDs)+len(r.GIDs) > 0 && !ofOneOwner(r) {
		return false
	}
	ports := []iptables.Match{{DPort: toDNS}, {SPort: toDNS}, {SPort: iptables.Is(iptables.Port(capture.DNSProxyPort))}}
	return slices.ContainsFunc(ports, func(m iptables.Match) bool {
		m.Proto, m.Src, m.Dst, m.UIDs, m.GIDs = iptables.UDP, r.Src, r.Dst, r.UIDs, r.GIDs
		return is(r, m, zone)
	})
}

// marks are the rules of mode TPROXY. The proof is the mark of the TPROXY rules beside them.
// Istio writes those that match the mark once in each chain, so that a second one is foreign.
func (l leftoverFinder) marks(t iptables.LiveTable) {
	mark, ok := l.tproxyMark(t)
	if !ok {
		return
	}
	tcp := iptables.Match{Proto: iptables.TCP}
	saves, returns, restores := tcp, tcp, tcp
	saves.Mark, restores.ConnMark = iptables.Is(mark), iptables.Is(mark)
	returns.Mark, returns.Out = iptables.Is(mark), loopback
	l.add(t, iptables.Prerouting, true, func(r iptables.Rule) bool { return is(r, saves, iptables.SaveMark{}) })
	l.add(t, iptables.Output, true, func(r iptables.Rule) bool { return is(r, returns, iptables.Return) })
	l.add(t, iptables.Output, true, func(r iptables.Rule) bool { return is(r, restores, iptables.RestoreMark{}) })
	l.add(t, iptables.Output, false, func(r iptables.Rule) bool {
		m := iptables.Match{Proto: iptables.TCP, Dst: r.Dst, Out: loopback, UIDs: r.UIDs, GIDs: r.GIDs}
		return r.Dst.Set && r.Dst.Neg && ofOneOwner(r) && is(r, m, iptables.SetMark{Mark: iptables.FullMark(capture.SelfCallMark)})
	})
}

var loopback = iptables.Is(iptables.Interface("lo"))

// tproxyMark returns the mark that the TPROXY rules of our chains give to packets.
func (l leftoverFinder) tproxyMark(t iptables.LiveTable) (iptables.Mark, bool) {
	for _, c := range t.Chains {
		if !l.own.Has(t.Name, c.Name) {
			continue
		}
		for _, r := range c.Rules {
			if tproxy, ok := r.Rule.Target.(iptables.TProxy); ok {
				return tproxy.Mark, true
			}
		}
	}
	return iptables.Mark{}, false
}

// excludedInterfaces are the rules of -c: "-i IF -j RETURN" right before what is Istio's in
// PREROUTING, and "-o IF -j RETURN" for the same interfaces in the same order right before
// what is Istio's in OUTPUT. They prove nothing by themselves: an administrator exempts an
// interface with the same rules.
func (l leftoverFinder) excludedInterfaces(t iptables.LiveTable) {
	in, inPlaces := l.returnsBefore(t, iptables.Prerouting, func(r iptables.Rule) iptables.Match { return iptables.Match{In: r.In} })
	out, outPlaces := l.returnsBefore(t, iptables.Output, func(r iptables.Rule) iptables.Match { return iptables.Match{Out: r.Out} })
	if len(out) == 0 || !slices.Equal(in, out) {
		return
	}
	for _, at := range slices.Concat(inPlaces, outPlaces) {
		l.rules[at] = true
	}
}

// returnsBefore returns the interfaces of the run of rules that only return the packets of an
// interface, ahead of the first of Istio's rules in a chain, or at its end.
func (l leftoverFinder) returnsBefore(t iptables.LiveTable, chain string, only func(iptables.Rule) iptables.Match) (names []iptables.Interface, at []iptables.Place) {
	for i, r := range t.Chain(chain).Rules {
		place := iptables.Place{Table: t.Name, Chain: chain, Index: i}
		m := only(r.Rule)
		name := m.In
		if m.Out.Set {
			name = m.Out
		}
		switch owned := l.rules[place] || l.own.Jumps(t.Name, r); {
		case owned && len(names) > 0:
			return names, at
		case owned:
		case name.Set && !name.Neg && is(r.Rule, m, iptables.Return):
			names, at = append(names, name.Val), append(at, place)
		default:
			names, at = nil, nil
		}
	}
	return names, at
}

// is reports whether a rule has exactly a match and a target.
func is(r iptables.Rule, m iptables.Match, t iptables.Target) bool {
	return r.Foreign == nil && r.Target == t && reflect.DeepEqual(r.Match, m)
}
