package main

import (
	"go.uber.org/zap"

	"istio-init/iptables"
)

// report tells what became of each family.
func (inv *invocation) report(kernel *iptables.Kernel, want []iptables.Ruleset, changes []iptables.Change) {
	changed := map[iptables.Family]iptables.Change{}
	for _, c := range changes {
		changed[c.Family] = c
	}
	for _, rs := range want {
		c, ok := changed[rs.Family]
		state := kernel.State(rs.Family)
		if ok {
			state = c.After
		}
		for _, rule := range state.InTheWay() {
			inv.log.Warn("a rule of others stands before ours and may take connections first", zap.Stringer("family", rs.Family), zap.String("rule", rule))
		}
		switch {
		case ok:
			inv.log.Debug("script for " + rs.Family.SaveTool() + ":\n" + c.Script)
			inv.log.Info("rules applied", zap.Stringer("family", rs.Family), zap.Stringer("variant", kernel.Variant()),
				zap.Int("tables", len(rs.Tables)), zap.Int("rules", rs.Len()))
			inv.log.Info("Final iptables state (" + familyTitle(rs.Family) + "):\n" + state.String())
		case len(rs.Tables) > 0:
			inv.log.Info("rules in order, nothing written", zap.Stringer("family", rs.Family), zap.Stringer("variant", kernel.Variant()),
				zap.Int("tables", len(rs.Tables)), zap.Int("rules", rs.Len()))
			inv.log.Debug("Final iptables state (" + familyTitle(rs.Family) + "):\n" + state.String())
		}
	}
}

// familyTitle is the family as Istio's log spells it.
func familyTitle(f iptables.Family) string {
	if f == iptables.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}
