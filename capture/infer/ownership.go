package infer

import (
	"istio-init/capture"
	"istio-init/iptables"
)

// Ownership returns what of a live state is ours: the chains of the closed list in capture,
// the jumps to them, and what Istio itself left in built-in chains. The chains of ambient
// mode are foreign, also ISTIO_OUTPUT where it is ambient's: each table is decided by itself,
// since a sidecar's rules may be in the others.
func Ownership(s iptables.Snapshot) iptables.Ownership {
	own := iptables.Ownership{Chains: map[iptables.ChainName]bool{}}
	for _, t := range s.Tables {
		ambient := ownsOutput(t)
		for _, c := range t.Chains {
			if capture.Owns(c.Name) && (!ambient || c.Name != capture.ChainOutput) {
				own.Chains[iptables.ChainName{Table: t.Name, Chain: c.Name}] = true
			}
		}
	}
	own.Rules = leftovers(s, own)
	return own
}

// state returns rules as a live state, without their texts: nothing here needs them.
func state(rs iptables.Ruleset) iptables.Snapshot {
	s := iptables.Snapshot{Family: rs.Family}
	for _, t := range rs.Tables {
		live := iptables.LiveTable{Name: t.Name}
		for _, c := range t.Chains {
			rules := make([]iptables.LiveRule, len(c.Rules))
			for i := range c.Rules {
				rules[i].Rule = c.Rules[i]
			}
			live.Chains = append(live.Chains, iptables.LiveChain{Name: c.Name, Rules: rules})
		}
		s.Tables = append(s.Tables, live)
	}
	return s
}
