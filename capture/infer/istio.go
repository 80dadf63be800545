package infer

import (
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// istioMarks are what has to be known of built-in chains to tell which of their
// rules Istio itself put there.
type istioMarks struct {
	excluded []iptables.Interface // left alone both ways, as by -c
	virtuals []iptables.Interface // redirected on the way in, as by -k
	guarded  bool                 // the filter drops all TCP and UDP, before any other rule
}

func lookForIstio(rs iptables.Ruleset) istioMarks {
	var marks istioMarks
	var in []iptables.Interface
	nat, filter := rs.Table(iptables.NAT), rs.Table(iptables.Filter)
	for _, r := range nat.Chain(iptables.Prerouting).Rules {
		if jumpsTo(r, capture.ChainInbound) {
			break
		}
		switch form(r) {
		case "i RETURN":
			in = append(in, r.In.Val)
		case "i " + capture.ChainRedirect, "d i " + capture.ChainRedirect:
			marks.virtuals = append(marks.virtuals, r.In.Val)
		}
	}
	for _, r := range nat.Chain(iptables.Output).Rules {
		if jumpsTo(r, capture.ChainOutput) {
			break
		}
		if form(r) == "o RETURN" && slices.Contains(in, r.Out.Val) {
			marks.excluded = append(marks.excluded, r.Out.Val)
		}
	}
	marks.guarded = !slices.ContainsFunc(iptables.BuiltinChains(iptables.Filter), func(chain string) bool {
		rules := filter.Chain(chain).Rules
		return len(rules) < 2 || !isGuardrail(rules[0], rules[1]) && !isGuardrail(rules[1], rules[0])
	})
	return marks
}

func isGuardrail(tcp, udp iptables.Rule) bool {
	return form(tcp) == "tcp DROP" && form(udp) == "udp DROP"
}

// istios reads what Istio puts into built-in chains, where that is its alone, or
// does what its options do, whoever put it there.
func (r *reader) istios(form string, rule iptables.Rule) string {
	redirect, _ := rule.Target.(iptables.Redirect)
	switch r.chain {
	case "nat OUTPUT":
		switch {
		case redirect.Port == capture.DNSProxyPort:
			return r.lookups(form, rule)
		case r.dns && (form == "udp dport uid RETURN" || form == "udp dport gid RETURN"):
			return "a look-up of the proxy is left alone"
		}
		return r.exempt(form, rule)
	case "nat PREROUTING":
		return r.exempt(form, rule)
	case "mangle PREROUTING", "mangle OUTPUT":
		if reason := r.exempt(form, rule); reason != "" {
			return reason
		}
		if _, verdict := rule.Target.(iptables.Verdict); !verdict || form == "o tcp mark RETURN" {
			return r.mangleOutput(form, rule) + r.mangleInbound(form, rule)
		}
	case "raw PREROUTING", "raw OUTPUT":
		return r.zones(form, rule)
	case "filter INPUT", "filter FORWARD", "filter OUTPUT":
		if r.istio.guarded && (form == "tcp DROP" || form == "udp DROP") {
			return "Istio was killed and left its guardrails behind: all " + rule.Proto.String() + " is dropped"
		}
	}
	return ""
}

// exempt reads a rule that leaves an interface alone. For -c there is one for each
// direction; for -k one on the way in, for what is not redirected.
func (r *reader) exempt(form string, rule iptables.Rule) string {
	name := rule.In.Val
	if form == "o RETURN" {
		name = rule.Out.Val
	}
	switch c := r.c; {
	case form != "o RETURN" && form != "i RETURN":
	case slices.Contains(r.istio.excluded, name):
		if !slices.Contains(c.ExcludeInterfaces, name) {
			c.ExcludeInterfaces = append(c.ExcludeInterfaces, name)
		}
		if slices.Contains(r.istio.virtuals, name) { // by -k as well
			r.leftLink(name, true)
		}
		return excludedLink(name)
	case form == "i RETURN" && (slices.Contains(r.istio.virtuals, name) || c.OutboundPrefixes.Empty()):
		return r.leftLink(name, true)
	}
	return ""
}
