package iptables

import (
	"slices"
)

// dnsPort is the port of DNS queries, the only UDP that is captured.
const dnsPort = 53

// Preempting returns the foreign rules ahead of our jumps in built-in chains that may take a
// packet before we see it: every rule that does something with packets but count, mark or
// log them. Wherever it is in raw, that is one that takes connections from conntrack.
func Preempting(s Snapshot, own Ownership) []Place {
	var places []Place
	for _, t := range s.Tables {
		p := preempter{LiveTable: t, chains: t.index(), known: map[string]bool{}}
		udp := own.matchesUDP(t)
		for _, c := range t.Chains {
			if c.Policy == "-" {
				continue
			}
			p.queries = udp && c.Name == Output
			clear(p.known)
			ours := slices.IndexFunc(c.Rules, func(r LiveRule) bool { return own.Jumps(t.Name, r) })
			for i, r := range c.Rules {
				if i == ours {
					clear(p.known)
				}
				if i < ours && p.takes(r.Rule, true) || i >= ours && t.Name == Raw && p.untracks(r.Rule) {
					places = append(places, Place{t.Name, c.Name, i})
				}
			}
		}
	}
	return places
}

// PreemptingBeside returns the foreign rules in built-in chains that the kernel calls ahead of
// ours in chains of another backend, and that may take a packet for good: there ACCEPT and
// RETURN end only the chain. own is what of the rules is ours, and rs are those of the other
// backend.
func PreemptingBeside(s Snapshot, own Ownership, rs Ruleset) []Place {
	var places []Place
	for _, t := range s.Tables {
		p := preempter{LiveTable: t, chains: t.index(), known: map[string]bool{}, beside: true}
		for _, c := range rs.Table(t.Name).Chains {
			if !slices.Contains(BuiltinChains(t.Name), c.Name) {
				continue
			}
			p.queries = c.Name == Output && rs.matchesUDP()
			clear(p.known)
			for i, r := range t.Chain(c.Name).Rules {
				at := Place{t.Name, c.Name, i}
				if !own.Jumps(t.Name, r) && !own.Rules[at] && p.takes(r.Rule, true) {
					places = append(places, at)
				}
			}
		}
	}
	return places
}

// matchesUDP reports whether DNS queries are captured: then there are rules for UDP.
func (rs Ruleset) matchesUDP() bool {
	return slices.ContainsFunc(rs.Tables, func(t Table) bool {
		return slices.ContainsFunc(t.Chains, func(c Chain) bool {
			return slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Proto == UDP })
		})
	})
}

// matchesUDP reports whether DNS queries are captured: then chains of ours have rules for UDP.
func (o Ownership) matchesUDP(t LiveTable) bool {
	return slices.ContainsFunc(t.Chains, func(c LiveChain) bool {
		return o.Has(t.Name, c.Name) && slices.ContainsFunc(c.Rules, func(r LiveRule) bool { return r.Rule.Proto == UDP })
	})
}

// A preempter looks for rules of a table that take packets.
type preempter struct {
	LiveTable
	chains  map[string]int
	queries bool            // DNS queries over UDP are captured
	beside  bool            // ours are in chains of another backend
	known   map[string]bool // of a chain, whether one of its rules takes packets
}

// takes reports whether a rule, or one of a chain that it jumps to, may end the way of a TCP
// packet in the table, or of a DNS query over UDP where those are captured. A rule of a
// built-in chain that leaves it with -g does.
func (p *preempter) takes(r Rule, builtin bool) bool {
	if !p.mayMatch(r) {
		return false
	}
	chain, continues := nextChain(r.Target)
	switch _, leaves := r.Target.(Goto); {
	case p.beside && !continues:
		return r.takesForGood()
	case !continues:
		return r.Target != nil && Terminates(r.Target) || r.Foreign.Effect() != GoesOn || r.Foreign.untracks()
	case leaves && builtin && !p.beside:
		return true // the packet does not come back to the built-in chain
	}
	return p.anyRule(chain, func(r Rule) bool { return r.Target != Return && p.takes(r, false) })
}

// takesForGood reports whether a packet that matches goes elsewhere, or is gone.
func (r Rule) takesForGood() bool {
	switch r.Target.(type) {
	case Redirect, TProxy:
		return true
	}
	effect := r.Foreign.Effect()
	return r.Target == Drop || effect == Drops || effect == TakesAway || r.Foreign.untracks()
}

// untracks reports whether a rule, or one of a chain that it jumps to, may take a connection
// from conntrack.
func (p *preempter) untracks(r Rule) bool {
	if !p.mayMatch(r) {
		return false
	}
	if chain, continues := nextChain(r.Target); continues {
		return p.anyRule(chain, p.untracks)
	}
	return r.Foreign.untracks()
}

// anyRule reports whether one of the rules of a chain is such; each chain is read once.
func (p *preempter) anyRule(chain string, is func(Rule) bool) bool {
	if found, known := p.known[chain]; known {
		return found
	}
	p.known[chain] = false // where the chain leads back to itself
	i, there := p.chains[chain]
	p.known[chain] = there && slices.ContainsFunc(p.Chains[i].Rules, func(r LiveRule) bool { return is(r.Rule) })
	return p.known[chain]
}

// mayMatch reports whether a rule may match TCP, or DNS queries where those are captured.
func (p *preempter) mayMatch(r Rule) bool {
	return r.mayMatch(TCP) || p.queries && r.mayMatch(UDP) && r.mayMatchPort(dnsPort)
}

// mayMatch reports whether a rule may match packets of a protocol.
func (r Rule) mayMatch(p Proto) bool {
	if r.Foreign != nil && slices.Contains(r.Foreign.Conditions, "! -p "+p.String()) {
		return false
	}
	return r.Proto == 0 || r.Proto == p
}

// mayMatchPort reports whether a rule may match packets to a port.
func (r Rule) mayMatchPort(port uint16) bool {
	has := func(p PortRange) bool { return p.Contains(port) }
	return r.DPort.holds(has) && r.DPorts.holds(func(ports []PortRange) bool { return slices.ContainsFunc(ports, has) })
}
