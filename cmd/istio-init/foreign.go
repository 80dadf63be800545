package main

import (
	"fmt"
	"slices"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
)

// follow adds what becomes of connections that the configuration captures, the foreign rules
// ahead of ours, and the tables that may capture and could not be read.
func (src *ruleSource) follow() {
	src.network.Proxy = proxyOwner(src.Config)
	src.Unprinted = append(src.Unprinted, src.unprinted()...)
	for _, r := range src.Rules {
		known := func(at iptables.Place) bool { // what the configuration says already
			rules := r.Rules.Table(at.Table).Chain(at.Chain).Rules
			return rules[at.Index].Role != capture.RoleUnknown
		}
		src.Warnings = append(src.Warnings, ahead(src.states[r.Rules.Family], r.Own, known)...)
		if r.Captures() {
			src.Samples = append(src.Samples, path.Samples(r, src.Config, src.network)...)
		}
	}
}

// unprintedNames names the tables of a family that may redirect connections and that iptables
// does not print.
func unprintedNames(s iptables.Snapshot) (names []string) {
	for _, table := range s.Unreadable {
		if table == iptables.NAT || table == iptables.Mangle {
			names = append(names, fmt.Sprintf("iptables does not print the %s table %s", s.Family, table))
		}
	}
	return names
}

// unprinted names the tables that may redirect connections and that iptables does not print.
func (src *ruleSource) unprinted() (names []string) {
	for _, s := range src.states {
		names = append(names, unprintedNames(s)...)
	}
	if src.found == nil {
		return names
	}
	for _, table := range src.found.Native {
		names = append(names, "iptables does not print the nft table inet "+table)
	}
	for _, c := range src.found.Chains {
		name := fmt.Sprintf("iptables does not print the nft table %s %s", c.Family, c.Table)
		if c.Type == "nat" && c.HasRules && (c.Hook == "prerouting" || c.Hook == "output") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// lost returns a warning for each kind of connections that are not captured though the
// flags ask for it.
func (cmd *command) lost(have iptables.Snapshot, want iptables.Ruleset, network path.Network) []string {
	if want.Len() == 0 {
		return nil
	}
	network.Proxy = proxyOwner(cmd.opts.Config)
	return report.LostSamples(path.Samples(infer.Infer(have.Ruleset()), cmd.opts.Config, network), path.Sample.Lost)
}

// ahead returns a warning for each foreign rule ahead of ours, without those that are known.
func ahead(s iptables.Snapshot, own iptables.Ownership, known func(iptables.Place) bool) (warnings []string) {
	for _, at := range slices.DeleteFunc(iptables.Preempting(s, own), known) {
		warnings = append(warnings, aheadText(pod.RuleAhead{Family: s.Family, Rule: s.TextAt(at)}))
	}
	return warnings
}

func aheadText(r pod.RuleAhead) string {
	return fmt.Sprintf("%s: foreign rule ahead of ours, may take connections first: %s", r.Family, r.Rule)
}

func nothing(iptables.Place) bool { return false }
