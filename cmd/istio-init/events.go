package main

import (
	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/report"
	"istio-init/cmd/logging"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// logEvent logs an event of the engine.
func (cmd *command) logEvent(event pod.Event) {
	switch e := event.(type) {
	case pod.NameServices:
		cmd.log.Debug("NSS of the node is not bypassed (needs the capability SYS_ADMIN)", logging.Error(e.Err))
	case pod.TablesUnreadable:
		cmd.log.Warn("some tables could not be read", backendField(e.Backend), logging.Error(e.Err))
	case pod.ChangedByOthers:
		cmd.log.Info("another program changed rules meanwhile, so the change is planned again")
	case pod.RoutingAdded:
		cmd.log.Info("policy routing added", logging.Stringer("family", e.Family), logging.Int("mark", e.Route.Mark), logging.Int("table", e.Route.Table))
	case pod.RoutingRemoved:
		cmd.log.Info("stale policy routing removed", logging.Stringer("family", e.Family))
	case pod.AddressAdded:
		cmd.log.Info(e.Addr.String() + "/128 added to lo")
	case pod.AddressRemoved:
		cmd.log.Info(e.Addr.String() + "/128 removed from lo")
	case pod.AddressStays:
		cmd.log.Warn(e.Addr.String() + "/128 stays on lo: it was not added by istio-init; Istio adds it and never removes it")
	case pod.TablesStay:
		cmd.log.Debug("empty tables were not removed", logging.Error(e.Err))
	case pod.NativeRemoved:
		cmd.log.Info("tables of Istio's native nftables removed", logging.Strings("tables", e.Tables))
	default:
		cmd.logRules(event)
	}
}

// logRules logs events about rules.
func (cmd *command) logRules(event pod.Event) {
	switch e := event.(type) {
	case pod.MeshBeside:
		cmd.log.Warn(report.MeshBeside(e.Family, e.Mesh))
	case pod.RuleAhead:
		cmd.log.Warn("foreign rule ahead of ours, may take connections first", logging.Stringer("family", e.Family), logging.String("rule", e.Rule))
	case pod.ForeignChains:
		var names []string
		for _, c := range e.Chains {
			names = append(names, path.BaseChain(c).String())
		}
		cmd.log.Warn("chains of nftables that iptables does not print may decide about connections", logging.Strings("chains", names))
	case pod.RulesApplied:
		cmd.reportTaken(e.Backend, e.Change)
		cmd.logScript(e.Backend, e.Change)
		cmd.log.Info("rules applied", rulesFields(e.Backend, e.Want)...)
		cmd.log.Info(finalState(e.Backend, e.Change.Family) + ":\n" + e.Change.After.String())
	case pod.RulesInOrder:
		cmd.log.Info("rules in order, nothing written", rulesFields(e.Backend, e.Want)...)
		cmd.log.DebugText(finalState(e.Backend, e.Want.Family), e.Live.String)
	case pod.OtherBackend:
		cmd.log.Info("stale rules of another backend", backendField(e.Backend))
	case pod.RulesRemoved:
		cmd.logScript(e.Backend, e.Change)
		cmd.reportTaken(e.Backend, e.Change)
		cmd.log.Info("rules removed", logging.Stringer("family", e.Change.Family), backendField(e.Backend))
		cmd.log.DebugText(finalState(e.Backend, e.Change.Family), e.Change.After.String)
	case pod.NothingToRemove:
		cmd.log.Info("nothing to remove", backendField(e.Backend))
	}
}

// logScript logs what a program was given. Native nftables has none: --plan prints the change.
func (cmd *command) logScript(backend pod.Name, c iptables.Change) {
	if backend == pod.NFTables {
		return
	}
	cmd.log.DebugText("script for "+xtables.SaveTool(c.Family), func() string { return xtables.Script(c) })
}

func rulesFields(name pod.Name, want iptables.Ruleset) []logging.Field {
	return []logging.Field{logging.Stringer("family", want.Family), backendField(name), logging.Int("tables", len(want.Tables)), logging.Int("rules", want.Len())}
}

func backendField(name pod.Name) logging.Field { return logging.String("backend", name.Title()) }

// finalState is the heading of the live rules, in Istio's words. --rules reads the rules
// below it, which are in the notation of iptables-save for every backend.
func finalState(backend pod.Name, f inet.Family) string {
	what := "Final iptables state"
	if backend == pod.NFTables {
		what = "Final state of native nftables, in the notation of iptables-save"
	}
	return what + " (" + familyTitle(f) + ")"
}

// familyTitle returns the family as Istio's log spells it.
func familyTitle(f inet.Family) string {
	if f == inet.IPv6 {
		return "IPv6"
	}
	return "IPv4"
}

// reportTaken logs the removed rules of Istio in built-in chains, and those of others in a table
// that is ours alone.
func (cmd *command) reportTaken(b pod.Name, c iptables.Change) {
	for _, at := range c.Taken() {
		say, rule := cmd.log.Info, c.Before.TextAt(at)
		if b == pod.NFTables {
			say("foreign rule removed from our table", logging.Stringer("family", c.Family), logging.String("rule", rule))
			continue
		}
		if at.Table == iptables.Filter {
			say = cmd.log.Warn // a guardrail, which dropped traffic
		}
		say("rule of Istio removed from a built-in chain", logging.Stringer("family", c.Family), logging.String("rule", rule))
	}
}
