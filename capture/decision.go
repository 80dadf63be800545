package capture

import (
	"fmt"
	"slices"

	"istio-init/iptables"
)

// decision finds the rule that says where a leg landed.
func (t traveller) decision(leg Leg) *Decision {
	switch {
	case leg.Landing == Dropped || leg.Landing == Unknown:
		last := leg.Stages[len(leg.Stages)-1].Steps
		return t.decided(last[len(last)-1])
	case leg.Captured:
		return t.capturedBy(leg)
	}
	if d := t.leftBy(leg); d != nil {
		return d
	}
	return &Decision{Reason: t.notTaken(leg)}
}

// decided makes a decision of a step.
func (t traveller) decided(s iptables.Step) *Decision {
	at := Place{s.Table, s.Chain, s.Index}
	reason := t.Reason(at)
	if s.Index == len(t.Rules.Table(s.Table).Chain(s.Chain).Rules) {
		reason = fmt.Sprintf("the policy of %s %s is DROP", s.Table, s.Chain)
	}
	return &Decision{At: at, Rule: s.Rule.Text(t.Rules.Family), Reason: reason, Others: reason == "" && !iptables.Own(s.Chain)}
}

// capturedBy is the rule that sent the packet to the chain that captures, or the
// one that captures where no jump leads to it.
func (t traveller) capturedBy(leg Leg) *Decision {
	for _, stage := range slices.Backward(leg.Stages) {
		for i, s := range slices.Backward(stage.Steps) {
			switch s.Rule.Target.(type) {
			case iptables.Redirect, iptables.TProxy:
				if i > 0 && jumpsTo(stage.Steps[i-1].Rule, s.Chain) && iptables.Own(s.Chain) && s.Chain != ChainOutputDNS {
					return t.decided(stage.Steps[i-1])
				}
				return t.decided(s)
			}
		}
	}
	return nil
}

func jumpsTo(r rule, chain string) bool {
	jump, ok := r.Target.(iptables.Jump)
	return ok && jump.Chain == chain
}

// leftBy is the last rule that ended the way of the packet through a table in
// which it could have been captured; nil when none did.
func (t traveller) leftBy(leg Leg) *Decision {
	for _, stage := range slices.Backward(leg.Stages) {
		if stage.Hook != iptables.Output && stage.Hook != iptables.Prerouting {
			continue
		}
		if s := lastLeft(stage); s != nil {
			return t.decided(*s)
		}
	}
	return nil
}

// lastLeft is the last rule of a stage that left a packet alone; one of others
// counts only where none of a mesh did, since then that saw the packet before.
func lastLeft(stage Stage) *iptables.Step {
	var others *iptables.Step
	for i := len(stage.Steps) - 1; i >= 0; i-- {
		s := &stage.Steps[i]
		ends := s.Rule.Target == iptables.Accept || s.Rule.Target == iptables.Return
		switch {
		case s.Maybe || !ends || s.Table != iptables.NAT && s.Table != iptables.Mangle:
		case iptables.Own(s.Chain):
			return s
		case others == nil && (s.Rule.Target == iptables.Accept || s.Chain == stage.Hook):
			others = s
		}
	}
	return others
}

// notTaken says why no rule took a packet.
func (t traveller) notTaken(leg Leg) string {
	entered := func(chain string) bool {
		return slices.ContainsFunc(leg.Stages, func(stage Stage) bool {
			return slices.ContainsFunc(stage.Steps, func(s iptables.Step) bool { return jumpsTo(s.Rule, chain) })
		})
	}
	switch {
	case !t.Captures():
		return fmt.Sprintf("no rules of a mesh are there for %s", t.Rules.Family)
	case leg.State == iptables.Established:
		return "nat is asked for that one alone (--state new)"
	case leg.State == iptables.Invalid:
		return "it fits no connection"
	case leg.Proto == iptables.UDP:
		return "UDP other than look-ups that are captured is left alone"
	case leg.Proto != iptables.TCP:
		return "only TCP and look-ups are captured"
	case leg.Owner == nil && entered(ChainInbound):
		return fmt.Sprintf("port %d is not included by -b", leg.Dst.Port())
	case leg.Owner == nil:
		return "no connection that comes in is captured: -b names no port"
	case entered(ChainOutput) && t.c.manyGroups() && !entered(ChainOutputGroup):
		return noneOfTheGroups
	case entered(ChainOutput) && t.c.OutboundPrefixes.Empty() && len(t.c.OutboundPorts) == 0:
		return "no connection to elsewhere is captured: -i and -q name nothing"
	case entered(ChainOutput):
		return fmt.Sprintf("%s is not included by -i, nor port %d by -q", leg.Dst.Addr(), leg.Dst.Port())
	}
	return "no rule leads what leaves the pod to " + ChainOutput
}
