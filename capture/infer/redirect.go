package infer

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"istio-init/iptables"
)

// A Redirect is a foreign rule that sends connections to a port of the pod.
type Redirect struct {
	Mesh   Mesh           // whose it is
	At     iptables.Place // of the rule
	Hook   string         // Prerouting: of inbound connections; Output: of outbound ones
	Proto  iptables.Proto // zero: of TCP and UDP
	Port   uint16         // zero: not known
	Only   []Packets      // it takes what is of all of them
	Except []Packets      // and of none of these
}

// Packets are the packets that a match takes, as far as the conditions hold that are not known
// here, as iptables prints them.
type Packets struct {
	iptables.Match
	Unknown []string
}

// Redirects returns the foreign rules by which connections may go to a port of the pod, in the
// order in which packets meet them.
func (r *Inference) Redirects() []Redirect {
	var found []Redirect
	for _, hook := range []string{iptables.Prerouting, iptables.Output} {
		for _, name := range iptables.TablesAt(hook) {
			f := redirectFinder{of: r, table: r.Rules.Table(name), hook: hook, budget: maxSearched}
			if f.prepare(); f.leads[hook] {
				f.search(hook, Redirect{Hook: hook})
				found = append(found, f.found...)
			}
		}
	}
	return found
}

// maxSearched and maxFound bound a search through chains that jump to each other many times.
const (
	maxSearched = 1 << 13
	maxFound    = 64
)

// A redirectFinder finds the redirects of a table at a hook.
type redirectFinder struct {
	of     *Inference
	table  iptables.Table
	hook   string
	chains map[string][]iptables.Rule
	leads  map[string]bool // chains from which a redirect is reached
	within []string        // the chains that are searched, each from the one before
	budget int             // rules that may still be searched
	found  []Redirect
}

// prepare finds the chains from which a redirect is reached.
func (f *redirectFinder) prepare() {
	f.chains, f.leads = map[string][]iptables.Rule{}, map[string]bool{}
	from := map[string][]string{} // the chains that jump to one
	var reached []string
	for _, c := range f.table.Chains {
		if f.of.Own.Has(f.table.Name, c.Name) {
			continue
		}
		f.chains[c.Name] = c.Rules
		for _, rule := range c.Rules {
			if _, ok := redirectPort(rule); ok {
				reached = append(reached, c.Name)
			}
			if to, ok := nextChain(rule); ok {
				from[to] = append(from[to], c.Name)
			}
		}
	}
	for len(reached) > 0 {
		name := reached[0]
		if reached = reached[1:]; !f.leads[name] {
			f.leads[name] = true
			reached = append(reached, from[name]...)
		}
	}
}

// search finds the redirects of a chain and of those that it jumps to. So far has the conditions
// under which packets come to the chain.
func (f *redirectFinder) search(chain string, so Redirect) {
	f.within = append(f.within, chain)
	defer func() { f.within = f.within[:len(f.within)-1] }()
	if mesh := f.of.MeshOf(f.table.Name, chain); mesh != OtherMesh {
		so.Mesh = mesh
	}
	var ended iptables.Proto // a rule takes all packets of it
	for i, rule := range f.chains[chain] {
		if f.budget--; f.budget < 0 || len(f.found) == maxFound {
			return
		}
		at := iptables.Place{Table: f.table.Name, Chain: chain, Index: i}
		if f.of.Own.Rules[at] || so.Proto != 0 && rule.Proto != 0 && rule.Proto != so.Proto || ended != 0 && rule.Proto == ended {
			continue
		}
		to, jumps := nextChain(rule)
		port, redirects := redirectPort(rule)
		switch {
		case redirects:
			taken := so.narrowed(rule)
			taken.Except = slices.DeleteFunc(slices.Clone(taken.Except), func(p Packets) bool {
				return p.Proto != 0 && taken.Proto != 0 && p.Proto != taken.Proto
			})
			taken.Port, taken.At = port, at
			if !taken.local() && !slices.ContainsFunc(f.found, func(have Redirect) bool { return reflect.DeepEqual(have, taken) }) {
				f.found = append(f.found, taken)
			}
		case jumps && f.leads[to] && !slices.Contains(f.within, to): // chains in a loop do not exist
			f.search(to, so.narrowed(rule))
		case rule.Target == iptables.Return || rule.Target == iptables.Accept || rule.Target == iptables.Drop:
			so.Except = append(slices.Clip(so.Except), packets(rule))
		}
		if isUnconditional(rule) && !jumps && rule.Target != nil && iptables.Terminates(rule.Target) {
			if ended = rule.Proto; ended == so.Proto || ended == 0 {
				return
			}
		}
	}
}

// local reports whether all that a redirect takes is to localhost, as Docker's resolver has it.
func (d Redirect) local() bool {
	return slices.ContainsFunc(d.Only, func(p Packets) bool { return p.Dst.Set && p.Dst.Val.Addr().IsLoopback() })
}

// narrowed returns a redirect with the conditions of one more rule on the way to it. What a
// negated condition excludes is an exception.
func (d Redirect) narrowed(rule iptables.Rule) Redirect {
	d.Only, d.Except = slices.Clip(d.Only), slices.Clip(d.Except)
	if rule.Proto != 0 {
		d.Proto = rule.Proto
	}
	only := packets(rule)
	except := func(m iptables.Match) { d.Except = append(d.Except, Packets{Match: m}) }
	if c, ok := negated(&only.DPort); ok {
		except(iptables.Match{Proto: only.Proto, DPort: c})
	}
	if c, ok := negated(&only.DPorts); ok {
		except(iptables.Match{Proto: only.Proto, DPorts: c})
	}
	if c, ok := negated(&only.Dst); ok {
		except(iptables.Match{Dst: c})
	}
	if c, ok := negated(&only.Out); ok {
		except(iptables.Match{Out: c})
	}
	if c, ok := negated(&only.Mark); ok {
		except(iptables.Match{Mark: c})
	}
	for i := range only.UIDs {
		if c, ok := negated(&only.UIDs[i]); ok {
			except(iptables.Match{UIDs: []iptables.Cond[iptables.IDRange]{c}})
		}
	}
	for i := range only.GIDs {
		if c, ok := negated(&only.GIDs[i]); ok {
			except(iptables.Match{GIDs: []iptables.Cond[iptables.IDRange]{c}})
		}
	}
	if !isUnconditional(iptables.Rule{Match: only.Match, Foreign: rule.Foreign}) {
		d.Only = append(d.Only, only)
	}
	return d
}

// negated clears a negated condition and returns what it excludes.
func negated[T any](c *iptables.Cond[T]) (excluded iptables.Cond[T], ok bool) {
	if !c.Set || !c.Neg {
		return excluded, false
	}
	excluded, *c = iptables.Is(c.Val), excluded
	return excluded, true
}

func packets(rule iptables.Rule) Packets {
	p := Packets{Match: rule.Match}
	p.UIDs, p.GIDs = slices.Clone(p.UIDs), slices.Clone(p.GIDs)
	if rule.Foreign != nil {
		p.Unknown = rule.Foreign.Conditions
	}
	return p
}

// isUnconditional reports whether a rule takes every packet of its protocol.
func isUnconditional(rule iptables.Rule) bool {
	for c := range rule.Conditions() {
		if c.Flag != "-p" {
			return false
		}
	}
	return rule.Foreign == nil || len(rule.Foreign.Conditions) == 0
}

// redirectPort returns the port of the pod to which a rule sends connections; zero if that is a
// range, or that of the connection.
func redirectPort(rule iptables.Rule) (port uint16, ok bool) {
	switch t := rule.Target.(type) {
	case iptables.Redirect:
		return t.Port, true
	case iptables.TProxy:
		return t.Port, true
	}
	if rule.Foreign == nil {
		return 0, false
	}
	target := strings.Fields(rule.Foreign.Target)
	if len(target) == 3 && target[0] == "DNAT" && target[1] == "--to-destination" { // Consul, for DNS
		to, err := netip.ParseAddrPort(target[2])
		return to.Port(), err == nil && to.Addr().IsLoopback()
	}
	return 0, len(target) > 0 && target[0] == "REDIRECT"
}

// nextChain returns the chain in which a rule continues, if it does.
func nextChain(rule iptables.Rule) (chain string, ok bool) {
	switch t := rule.Target.(type) {
	case iptables.Jump:
		return t.Chain, true
	case iptables.Goto:
		return t.Chain, true
	}
	return "", false
}
