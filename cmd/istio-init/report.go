package main

import (
	"strings"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// report tells what became of each family.
func (inv *invocation) report(kernel *xtables.Kernel, want []iptables.Ruleset, changes []iptables.Change) {
	changed := map[inet.Family]iptables.Change{}
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
			inv.log.Warn("a rule of others stands before ours and may take connections first", namedField("family", rs.Family), stringField("rule", rule))
		}
		switch {
		case ok:
			inv.reportTaken(c)
			inv.log.DebugText("script for "+xtables.SaveTool(rs.Family), func() string { return c.Script })
			inv.log.Info("rules applied", namedField("family", rs.Family), namedField("variant", kernel.Variant()),
				numberField("tables", len(rs.Tables)), numberField("rules", rs.Len()))
			inv.log.Info("Final iptables state (" + familyTitle(rs.Family) + "):\n" + state.String())
		case len(rs.Tables) > 0:
			inv.log.Info("rules in order, nothing written", namedField("family", rs.Family), namedField("variant", kernel.Variant()),
				numberField("tables", len(rs.Tables)), numberField("rules", rs.Len()))
			inv.log.DebugText("Final iptables state ("+familyTitle(rs.Family)+")", state.String)
		}
	}
}

// familyTitle is the family as Istio's log spells it.
func familyTitle(f inet.Family) string {
	if f == inet.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// reportTaken names the rules of Istio's that stood in built-in chains and went.
func (inv *invocation) reportTaken(c iptables.Change) {
	for _, rule := range c.Taken() {
		say := inv.log.Info
		if strings.HasPrefix(rule, iptables.Filter+" ") {
			say = inv.log.Warn // a guardrail: it stopped traffic
		}
		say("a rule of Istio's in a built-in chain was removed", namedField("family", c.Family), stringField("rule", rule))
	}
}
