package infer

import (
	"maps"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// A Jump is the rule of a built-in chain that leads to a chain of a mesh.
type Jump struct{ Table, From, To string }

// LostJumps returns the jumps that rules lack: they have the chain, the configuration
// has a jump to it, and no rule of that built-in chain leads there.
func LostJumps(c capture.Config, rs iptables.Ruleset) []Jump {
	var lost []Jump
	leadsTo := func(from iptables.Chain, chain string) bool {
		return slices.ContainsFunc(from.Rules, func(r iptables.Rule) bool {
			jump, ok := r.Target.(iptables.Jump)
			return ok && jump.Chain == chain
		})
	}
	for _, t := range capture.Rules(c, rs.Family).Tables {
		have := rs.Table(t.Name)
		for _, hook := range t.Chains {
			if capture.Owns(hook.Name) {
				continue
			}
			for _, r := range hook.Rules {
				chain := r.Target.(iptables.Jump).Chain // all that there is in built-in chains
				isThere := slices.ContainsFunc(have.Chains, func(c iptables.Chain) bool { return c.Name == chain })
				if isThere && !leadsTo(have.Chain(hook.Name), chain) {
					lost = append(lost, Jump{t.Name, hook.Name, chain})
				}
			}
		}
	}
	return lost
}

// Makes reports whether a configuration makes the rules of a mesh that are among
// these, line for line.
func Makes(c capture.Config, rs iptables.Ruleset) bool {
	return maps.EqualFunc(meshRules(rs), meshRules(capture.Rules(c, rs.Family)), slices.Equal[[]string])
}

// meshRules are the rules of a mesh by "table chain": those of its chains, and the
// jumps to them.
func meshRules(rs iptables.Ruleset) map[string][]string {
	rules := map[string][]string{}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			at := t.Name + " " + c.Name
			if capture.Owns(c.Name) {
				rules[at] = []string{} // also one without rules
			}
			for _, r := range c.Rules {
				if jump, ok := r.Target.(iptables.Jump); capture.Owns(c.Name) || ok && capture.Owns(jump.Chain) {
					rules[at] = append(rules[at], r.Text(rs.Family))
				}
			}
		}
	}
	return rules
}
