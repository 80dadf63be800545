package infer

import (
	"maps"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// A Jump is the rule of a built-in chain that leads to a chain of ours.
type Jump struct{ Table, From, To string }

// LostJumps returns the jumps that the rules lack: they have the chain, the configuration
// has a jump to it, and no rule of that built-in chain leads there.
func (r *Inference) LostJumps(c capture.Config) []Jump {
	var lost []Jump
	made := Infer(capture.Rules(c, r.Rules.Family))
	for _, t := range made.Rules.Tables {
		have := r.Rules.Table(t.Name)
		for _, hook := range t.Chains {
			if made.Own.Has(t.Name, hook.Name) {
				continue
			}
			for _, rule := range hook.Rules {
				chain := rule.Target.(iptables.Jump).Chain // all that there is in built-in chains
				leadsTo := func(have iptables.Rule) bool { return jumpsTo(have, chain) }
				if r.Own.Has(t.Name, chain) && !slices.ContainsFunc(have.Chain(hook.Name).Rules, leadsTo) {
					lost = append(lost, Jump{t.Name, hook.Name, chain})
				}
			}
		}
	}
	return lost
}

// MadeBy reports whether a configuration makes those of the rules that are ours, line for
// line, for any backend.
func (r *Inference) MadeBy(c capture.Config) bool {
	makes := func(rs iptables.Ruleset) bool {
		return maps.EqualFunc(r.ours(), Infer(rs).ours(), slices.Equal[[]string])
	}
	return makes(capture.Rules(c, r.Rules.Family)) || makes(capture.ListRules(c, r.Rules.Family))
}

// ours returns our rules by chain: those of our chains, and the jumps to them; all of them in a
// whole table.
func (r *Inference) ours() map[chainID][]string {
	rules := map[chainID][]string{}
	for _, t := range r.Rules.Tables {
		for _, c := range t.Chains {
			at := chainID{t.Name, c.Name}
			own := r.Own.Has(t.Name, c.Name)
			if own {
				rules[at] = []string{} // also one without rules
			}
			for _, rule := range c.Rules {
				if jump, ok := rule.Target.(iptables.Jump); own || r.Whole || ok && r.Own.Has(t.Name, jump.Chain) {
					rules[at] = append(rules[at], rule.Text(r.Rules.Family))
				}
			}
		}
	}
	return rules
}
