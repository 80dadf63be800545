package main

import (
	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// logEvent logs what the engine has found or done.
func (inv *invocation) logEvent(event pod.Event) {
	switch e := event.(type) {
	case pod.NameServices:
		inv.log.Debug("name services of the node may be asked (needs CAP_SYS_ADMIN)", errorField(e.Err))
	case pod.TablesUnreadable:
		inv.log.Warn("rules are there that cannot be looked at", variantField(e.Backend), errorField(e.Err))
	case pod.RoutingAdded:
		inv.log.Info("policy routing added", namedField("family", e.Family), numberField("mark", e.Route.Mark), numberField("table", e.Route.Table))
	case pod.RoutingRemoved:
		inv.log.Info("policy routing of an earlier run removed", namedField("family", e.Family))
	case pod.AddressAdded:
		inv.log.Info(e.Addr.String() + "/128 added to lo")
	case pod.AddressRemoved:
		inv.log.Info(e.Addr.String() + "/128 removed from lo")
	case pod.AddressStays:
		inv.log.Warn(e.Addr.String() + "/128 stays on lo, since it was not added by us; Istio adds it and never removes it")
	case pod.TablesStay:
		inv.log.Debug("empty tables stay", errorField(e.Err))
	case pod.NativeRemoved:
		inv.log.Info("tables of Istio's native nftables removed", listField("tables", e.Tables))
	default:
		inv.logRules(event)
	}
}

// logRules logs what has become of rules.
func (inv *invocation) logRules(event pod.Event) {
	switch e := event.(type) {
	case pod.RuleAhead:
		inv.log.Warn("a rule of others stands before ours and may take connections first", namedField("family", e.Family), stringField("rule", e.Rule))
	case pod.RulesApplied:
		inv.reportTaken(e.Change)
		inv.logScript(e.Change)
		inv.log.Info("rules applied", rulesFields(e.Backend, e.Want)...)
		inv.log.Info("Final iptables state (" + familyTitle(e.Change.Family) + "):\n" + e.Change.After.String())
	case pod.RulesInOrder:
		inv.log.Info("rules in order, nothing written", rulesFields(e.Backend, e.Want)...)
		inv.log.DebugText("Final iptables state ("+familyTitle(e.Want.Family)+")", e.Live.String)
	case pod.OtherBackend:
		inv.log.Info("rules of an earlier run in the other variant", variantField(e.Backend))
	case pod.RulesRemoved:
		inv.logScript(e.Change)
		inv.reportTaken(e.Change)
		inv.log.Info("rules removed", namedField("family", e.Change.Family), variantField(e.Backend))
		inv.log.DebugText("Final iptables state ("+familyTitle(e.Change.Family)+")", e.Change.After.String)
	case pod.NothingToRemove:
		inv.log.Info("nothing to remove", variantField(e.Backend))
	}
}

func (inv *invocation) logScript(c iptables.Change) {
	inv.log.DebugText("script for "+xtables.SaveTool(c.Family), func() string { return c.Script })
}

func rulesFields(name pod.Name, want iptables.Ruleset) []field {
	return []field{namedField("family", want.Family), variantField(name), numberField("tables", len(want.Tables)), numberField("rules", want.Len())}
}

func variantField(name pod.Name) field { return stringField("variant", string(name)) }

// familyTitle is the family as Istio's log spells it.
func familyTitle(f inet.Family) string {
	if f == inet.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// reportTaken names the rules of Istio's that stood in built-in chains and went.
func (inv *invocation) reportTaken(c iptables.Change) {
	for _, at := range c.Taken() {
		say, rule := inv.log.Info, c.Before.TextAt(at)
		if at.Table == iptables.Filter {
			say = inv.log.Warn // a guardrail: it stopped traffic
		}
		say("a rule of Istio's in a built-in chain was removed", namedField("family", c.Family), stringField("rule", rule))
	}
}
