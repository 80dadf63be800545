package infer

import (
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// istioMarks are what has to be known of built-in chains to tell which of their
// rules Istio itself put there.
type istioMarks struct {
	excluded []iptables.Interface // returned both ways, as by -c of Istio
	virtuals []iptables.Interface // redirected on the way in, as by -k of Istio
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
		switch shapeOf(r) {
		case hasIn | toReturn:
			in = append(in, r.In.Val)
		case hasIn | toRedirect, hasDst | hasIn | toRedirect:
			marks.virtuals = append(marks.virtuals, r.In.Val)
		}
	}
	for _, r := range nat.Chain(iptables.Output).Rules {
		if jumpsTo(r, capture.ChainOutput) {
			break
		}
		if shapeOf(r) == hasOut|toReturn && slices.Contains(in, r.Out.Val) {
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
	return shapeOf(tcp) == hasTCP|toDrop && shapeOf(udp) == hasUDP|toDrop
}

// builtin reads a rule of a built-in chain: a jump to ours, or what Istio itself
// puts there.
func (r *reader) builtin(s shape, rule iptables.Rule) iptables.Role {
	jump, ok := rule.Target.(iptables.Jump)
	if !ok || !r.own.Has(r.chain.table, jump.Chain) {
		return r.istioBuiltin(s, rule)
	}
	switch r.chain {
	case chainID{iptables.NAT, iptables.Prerouting}:
		switch s {
		case hasTCP | toInbound:
			return capture.RoleInboundHook
		case hasIn | toRedirect, hasDst | hasIn | toRedirect:
			return r.natInbound(s, rule)
		}
	case chainID{iptables.NAT, iptables.Output}:
		switch s {
		case toOutput:
			if !r.dns { // else the older generations have it too
				r.c.Generation = capture.Current
			}
			return capture.RoleOutboundHook
		case hasTCP | toOutput:
			return capture.RoleOutboundHook
		}
	case chainID{iptables.Mangle, iptables.Prerouting}:
		switch s {
		case hasTCP | toInbound:
			return capture.RoleInboundHook
		case hasState | toDropChain:
			r.c.DropInvalid = true
			return capture.RoleInvalid
		}
	case chainID{iptables.Mangle, iptables.Output}:
		if s == hasTCP|toOutput {
			return capture.RoleOutboundHook
		}
	case chainID{iptables.Raw, iptables.Prerouting}:
		if s == toInbound {
			return capture.RoleZonesHook
		}
	case chainID{iptables.Raw, iptables.Output}:
		if s == toOutputDNS {
			return capture.RoleZonesHook
		}
	}
	return capture.RoleUnknown
}

// istioBuiltin reads what Istio puts into built-in chains, where nobody else would,
// or what has the effect of its options, whoever put it there.
func (r *reader) istioBuiltin(s shape, rule iptables.Rule) iptables.Role {
	switch r.chain.table {
	case iptables.NAT:
		return r.istioNAT(s, rule)
	case iptables.Mangle:
		return r.istioMangle(s, rule)
	case iptables.Raw:
		if r.chain.name == iptables.Prerouting || r.chain.name == iptables.Output {
			return r.zones(s, rule)
		}
	case iptables.Filter:
		builtin := slices.Contains(iptables.BuiltinChains(iptables.Filter), r.chain.name)
		if builtin && r.istio.guarded && (s == hasTCP|toDrop || s == hasUDP|toDrop) {
			return capture.RoleGuardrail
		}
	}
	return capture.RoleUnknown
}

func (r *reader) istioNAT(s shape, rule iptables.Rule) iptables.Role {
	switch r.chain.name {
	case iptables.Output:
		redirect, _ := rule.Target.(iptables.Redirect)
		switch {
		case redirect.Port == capture.DNSProxyPort:
			return r.dnsQueries(s, rule)
		case r.dns && (s == hasUDP|hasDPort|hasUID|toReturn || s == hasUDP|hasDPort|hasGID|toReturn):
			return capture.RoleProxyQuery
		}
		return r.exempt(s, rule)
	case iptables.Prerouting:
		return r.exempt(s, rule)
	}
	return capture.RoleUnknown
}

func (r *reader) istioMangle(s shape, rule iptables.Rule) iptables.Role {
	if r.chain.name != iptables.Prerouting && r.chain.name != iptables.Output {
		return capture.RoleUnknown
	}
	if role := r.exempt(s, rule); role != capture.RoleUnknown {
		return role
	}
	if _, verdict := rule.Target.(iptables.Verdict); verdict && s != hasOut|hasTCP|hasMark|toReturn {
		return capture.RoleUnknown
	}
	if role := r.mangleOutput(s, rule); role != capture.RoleUnknown {
		return role
	}
	return r.mangleInbound(s, rule)
}

// exempt reads a rule that returns what goes by an interface. An excluded interface
// has one for each direction; a virtual one has one on the way in, for what is not
// redirected.
func (r *reader) exempt(s shape, rule iptables.Rule) iptables.Role {
	name := rule.In.Val
	if s == hasOut|toReturn {
		name = rule.Out.Val
	}
	switch c := r.c; {
	case s != hasOut|toReturn && s != hasIn|toReturn:
	case slices.Contains(r.istio.excluded, name):
		if !slices.Contains(c.ExcludeInterfaces, name) {
			c.ExcludeInterfaces = append(c.ExcludeInterfaces, name)
		}
		if slices.Contains(r.istio.virtuals, name) { // it is both
			r.addVirtual(name)
		}
		return capture.RoleExcludedInterface
	case s == hasIn|toReturn && (slices.Contains(r.istio.virtuals, name) || c.OutboundPrefixes.Empty()):
		return r.returnedInterface(name, true)
	}
	return capture.RoleUnknown
}
