package iptables

import (
	"slices"
)

// dnsPort is the port of DNS queries, the only UDP that is captured.
const dnsPort = 53

// Preempting returns the foreign rules ahead of our jumps in built-in chains that may take a
// packet before we see it: every rule that does something with packets but count, mark or
// log them.
func Preempting(s Snapshot, own Ownership) []Place {
	var places []Place
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			if c.Policy == "-" {
				continue
			}
			first := slices.IndexFunc(c.Rules, func(r LiveRule) bool { return own.Jumps(t.Name, r) })
			queries := c.Name == Output && own.matchesUDP(t)
			for i := range max(first, 0) {
				if t.takes(c.Rules[i].Rule, queries, 0) {
					places = append(places, Place{t.Name, c.Name, i})
				}
			}
		}
	}
	return places
}

// matchesUDP reports whether DNS queries are captured: then chains of ours have rules for UDP.
func (o Ownership) matchesUDP(t LiveTable) bool {
	return slices.ContainsFunc(t.Chains, func(c LiveChain) bool {
		return o.Has(t.Name, c.Name) && slices.ContainsFunc(c.Rules, func(r LiveRule) bool { return r.Rule.Proto == UDP })
	})
}

// takes reports whether a rule, or one of a chain that it jumps to, may end the way of a TCP
// packet in the table, or of a DNS query over UDP where those are captured.
func (t LiveTable) takes(r Rule, queries bool, depth int) bool {
	if !r.mayMatch(TCP) && (!queries || !r.mayMatch(UDP) || !r.mayMatchPort(dnsPort)) {
		return false
	}
	chain, continues := nextChain(r.Target)
	switch _, leaves := r.Target.(Goto); {
	case !continues:
		return r.Target != nil && Terminates(r.Target) || r.Foreign.Effect() != GoesOn
	case leaves && depth == 0:
		return true // the packet does not come back to the built-in chain
	}
	const deepest = 16 // deeper chains may do anything
	return depth > deepest || slices.ContainsFunc(t.Chain(chain).Rules, func(r LiveRule) bool {
		return r.Rule.Target != Return && t.takes(r.Rule, queries, depth+1)
	})
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
