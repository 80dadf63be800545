package path

import (
	"fmt"
	"slices"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
)

// decision finds the rule that says where a hop landed.
func (e evaluator) decision(hop Hop) *Decision {
	switch {
	case hop.Outcome == Dropped || hop.Outcome == Unknown:
		last := hop.Hooks[len(hop.Hooks)-1].Steps
		return e.decided(last[len(last)-1])
	case hop.Captured:
		return e.capturedBy(hop)
	}
	if d := e.leftBy(hop); d != nil {
		return d
	}
	return &Decision{Reason: e.notTaken(hop)}
}

// decided makes a decision of a step.
func (e evaluator) decided(s iptables.Step) *Decision {
	at := iptables.Place{Table: s.Table, Chain: s.Chain, Index: s.Index}
	reason := e.Reason(at)
	if s.Index == len(e.Rules.Table(s.Table).Chain(s.Chain).Rules) {
		reason = fmt.Sprintf("the policy of %s %s is DROP", s.Table, s.Chain)
	}
	return &Decision{At: at, Rule: s.Rule.Text(e.Rules.Family), Reason: reason, Others: reason == "" && !capture.Owns(s.Chain)}
}

// capturedBy is the rule that sent the packet to the chain that captures, or the
// one that captures where no jump leads to it.
func (e evaluator) capturedBy(hop Hop) *Decision {
	for _, trace := range slices.Backward(hop.Hooks) {
		for i, s := range slices.Backward(trace.Steps) {
			switch s.Rule.Target.(type) {
			case iptables.Redirect, iptables.TProxy:
				if i > 0 && jumpsTo(trace.Steps[i-1].Rule, s.Chain) && capture.Owns(s.Chain) && s.Chain != capture.ChainOutputDNS {
					return e.decided(trace.Steps[i-1])
				}
				return e.decided(s)
			}
		}
	}
	return nil
}

func jumpsTo(r iptables.Rule, chain string) bool {
	jump, ok := r.Target.(iptables.Jump)
	return ok && jump.Chain == chain
}

// leftBy is the last rule that ended the way of the packet through a table in
// which it could have been captured; nil when none did.
func (e evaluator) leftBy(hop Hop) *Decision {
	for _, trace := range slices.Backward(hop.Hooks) {
		if trace.Hook != iptables.Output && trace.Hook != iptables.Prerouting {
			continue
		}
		if s := lastLeft(trace); s != nil {
			return e.decided(*s)
		}
	}
	return nil
}

// lastLeft is the last rule of a trace that left a packet alone; one of others
// counts only where none of a mesh did, since then that saw the packet before.
func lastLeft(trace HookTrace) *iptables.Step {
	var others *iptables.Step
	for i := len(trace.Steps) - 1; i >= 0; i-- {
		s := &trace.Steps[i]
		ends := s.Rule.Target == iptables.Accept || s.Rule.Target == iptables.Return
		switch {
		case s.Maybe || !ends || s.Table != iptables.NAT && s.Table != iptables.Mangle:
		case capture.Owns(s.Chain):
			return s
		case others == nil && (s.Rule.Target == iptables.Accept || s.Chain == trace.Hook):
			others = s
		}
	}
	return others
}

// notTaken says why no rule took a packet.
func (e evaluator) notTaken(hop Hop) string {
	entered := func(chain string) bool {
		return slices.ContainsFunc(hop.Hooks, func(trace HookTrace) bool {
			return slices.ContainsFunc(trace.Steps, func(s iptables.Step) bool { return jumpsTo(s.Rule, chain) })
		})
	}
	switch {
	case !e.Captures():
		return fmt.Sprintf("no rules of a mesh are there for %s", e.Rules.Family)
	case hop.State == iptables.Established:
		return "nat is asked for that one alone (--state new)"
	case hop.State == iptables.Invalid:
		return "it fits no connection"
	case hop.Proto == iptables.UDP:
		return "UDP other than look-ups that are captured is left alone"
	case hop.Proto != iptables.TCP:
		return "only TCP and look-ups are captured"
	case hop.Owner == nil && entered(capture.ChainInbound):
		return fmt.Sprintf("port %d is not included by -b", hop.Dst.Port())
	case hop.Owner == nil:
		return "no connection that comes in is captured: -b names no port"
	case entered(capture.ChainOutput) && e.c.ManyOwnerGroups() && !entered(capture.ChainOutputGroup):
		return infer.NoneOfTheGroups
	case entered(capture.ChainOutput) && e.c.OutboundPrefixes.Empty() && len(e.c.OutboundPorts) == 0:
		return "no connection to elsewhere is captured: -i and -q name nothing"
	case entered(capture.ChainOutput):
		return fmt.Sprintf("%s is not included by -i, nor port %d by -q", hop.Dst.Addr(), hop.Dst.Port())
	}
	return "no rule leads what leaves the pod to " + capture.ChainOutput
}
