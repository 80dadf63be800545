package main

import (
	"strings"

	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// logEvent logs what the engine has found or done.
func (cmd *command) logEvent(event pod.Event) {
	switch e := event.(type) {
	case pod.NameServices:
		cmd.log.Debug("name services of the node may be asked (needs CAP_SYS_ADMIN)", errorField(e.Err))
	case pod.TablesUnreadable:
		cmd.log.Warn("rules are there that cannot be looked at", variantField(e.Backend), errorField(e.Err))
	case pod.RoutingAdded:
		cmd.log.Info("policy routing added", namedField("family", e.Family), numberField("mark", e.Route.Mark), numberField("table", e.Route.Table))
	case pod.RoutingRemoved:
		cmd.log.Info("policy routing of an earlier run removed", namedField("family", e.Family))
	case pod.AddressAdded:
		cmd.log.Info(e.Addr.String() + "/128 added to lo")
	case pod.AddressRemoved:
		cmd.log.Info(e.Addr.String() + "/128 removed from lo")
	case pod.AddressStays:
		cmd.log.Warn(e.Addr.String() + "/128 stays on lo, since it was not added by us; Istio adds it and never removes it")
	case pod.TablesStay:
		cmd.log.Debug("empty tables stay", errorField(e.Err))
	case pod.NativeRemoved:
		cmd.log.Info("tables of Istio's native nftables removed", listField("tables", e.Tables))
	default:
		cmd.logRules(event)
	}
}

// logRules logs what has become of rules.
func (cmd *command) logRules(event pod.Event) {
	switch e := event.(type) {
	case pod.RuleAhead:
		cmd.log.Warn("a rule of others stands before ours and may take connections first", namedField("family", e.Family), stringField("rule", e.Rule))
	case pod.RulesApplied:
		cmd.reportTaken(e.Change)
		cmd.logScript(e.Change)
		cmd.log.Info("rules applied", rulesFields(e.Backend, e.Want)...)
		cmd.log.Info("Final iptables state (" + familyTitle(e.Change.Family) + "):\n" + e.Change.After.String())
	case pod.RulesInOrder:
		cmd.log.Info("rules in order, nothing written", rulesFields(e.Backend, e.Want)...)
		cmd.log.DebugText("Final iptables state ("+familyTitle(e.Want.Family)+")", e.Live.String)
	case pod.OtherBackend:
		cmd.log.Info("rules of an earlier run in the other variant", variantField(e.Backend))
	case pod.RulesRemoved:
		cmd.logScript(e.Change)
		cmd.reportTaken(e.Change)
		cmd.log.Info("rules removed", namedField("family", e.Change.Family), variantField(e.Backend))
		cmd.log.DebugText("Final iptables state ("+familyTitle(e.Change.Family)+")", e.Change.After.String)
	case pod.NothingToRemove:
		cmd.log.Info("nothing to remove", variantField(e.Backend))
	}
}

func (cmd *command) logScript(c iptables.Change) {
	cmd.log.DebugText("script for "+xtables.SaveTool(c.Family), func() string { return c.Script })
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
func (cmd *command) reportTaken(c iptables.Change) {
	for _, rule := range c.Taken() {
		say := cmd.log.Info
		if strings.HasPrefix(rule, iptables.Filter+" ") {
			say = cmd.log.Warn // a guardrail: it stopped traffic
		}
		say("a rule of Istio's in a built-in chain was removed", namedField("family", c.Family), stringField("rule", rule))
	}
}
