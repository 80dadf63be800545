package path

import (
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
)

// A Decision is what says where a connection ends.
type Decision struct {
	Cause  Cause
	At     iptables.Place // of the rule, or behind the last one for a policy
	Rule   iptables.Rule  // for ByRule
	Others bool           // the rule is foreign
	Mesh   infer.Mesh     // whose, if its chain tells
	Route  RouteFailure   // for NoRouteTo
	To     netip.Addr     // likewise
	Mark   uint32         // of the packet, for NoRouteTo and NotDelivered
	// Obstacle is for BySysctl.
	Obstacle capture.Obstacle
}

// A Cause is why a connection ends where it does.
type Cause uint8

// The causes. The zero value: a rule decides, by its role.
const (
	ByRule           Cause = iota
	ByPolicy               // the policy of the chain is DROP
	NoRouteTo              // there is no route to the destination
	NoRules                // there are no rules of Istio
	NotFirst               // nat sees only the first packet of a connection
	NotTracked             // its state is INVALID
	Unseen                 // a foreign rule took it from conntrack, so that nat did not see it
	NotReturned            // the answer is routed to this machine by its mark
	BrokenOff              // the rules have too many chains, or a loop of them
	NotDelivered           // what TPROXY took is not routed to this machine
	OtherUDP               // of UDP only DNS queries are captured
	OtherProtocol          // only TCP and DNS queries are captured
	OtherPort              // the inbound port is not captured
	NoInbound              // no inbound connection is captured
	OtherGroup             // the group of the process is not captured
	NoOutbound             // no outbound connection is captured
	OtherDestination       // neither the destination nor its port is captured
	NoJump                 // no rule jumps to [capture.ChainOutput]
	NotByAmbient           // no rule of Istio's ambient mode takes it
	NoAddress              // REDIRECT drops it: the interface by which it comes has no address
	BySysctl               // a sysctl has its packets, or the answers to them, dropped
)

var causeNames = [...]string{
	"rule", "policy", "no-route", "no-rules", "not-first", "invalid", "untracked", "not-returned", "broken-off", "not-delivered", "udp", "protocol", "inbound-port", "no-inbound",
	"group", "no-outbound", "destination", "no-jump", "ambient", "no-address", "sysctl",
}

// String returns the name of the cause.
func (c Cause) String() string { return causeNames[c] }

// MarshalText returns the name of the cause.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// decision returns what says where a hop ended.
func (e evaluator) decision(hop Hop) *Decision {
	switch {
	case hop.Outcome == Dropped || hop.Outcome == Unknown:
		last := hop.Hooks[len(hop.Hooks)-1].Steps
		return e.decided(last[len(last)-1])
	case hop.Captured || hop.Outcome == Elsewhere:
		return e.capturedBy(hop)
	}
	if d := e.untrackedBy(hop); d != nil {
		return d
	}
	if d := e.returnedBy(hop); d != nil {
		return d
	}
	return &Decision{Cause: e.notCaptured(hop)}
}

// decided makes a decision of a step.
func (e evaluator) decided(s iptables.Step) *Decision {
	at := iptables.Place{Table: s.Table, Chain: s.Chain, Index: s.Index}
	if s.Index == len(e.Rules.Table(s.Table).Chain(s.Chain).Rules) {
		return &Decision{Cause: ByPolicy, At: at}
	}
	return &Decision{At: at, Rule: s.Rule, Others: s.Rule.Role == capture.RoleUnknown && !e.Own.Has(s.Table, s.Chain), Mesh: e.MeshOfRule(s.Table, s.Chain, s.Rule)}
}

// capturedBy is the rule that sent the packet to the chain that captures, or the
// one that captures where no jump leads to it.
func (e evaluator) capturedBy(hop Hop) *Decision {
	for _, trace := range slices.Backward(hop.Hooks) {
		for i, s := range slices.Backward(trace.Steps) {
			if s.Sends {
				if i > 0 && jumpsTo(trace.Steps[i-1].Rule, s.Chain) && e.Own.Has(s.Table, s.Chain) && s.Chain != capture.ChainOutputDNS {
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

// untrackedBy is the rule that took the connection from conntrack, so that nat did not see
// it; nil when none did.
func (e evaluator) untrackedBy(hop Hop) *Decision {
	for _, trace := range hop.Hooks {
		for _, s := range trace.Steps {
			if s.Untracks && !s.Maybe && e.Captures() {
				d := e.decided(s)
				d.Cause = Unseen
				return d
			}
		}
	}
	return nil
}

// returnedBy is the last rule that ended the way of the packet through a table in
// which it could have been captured; nil when none did.
func (e evaluator) returnedBy(hop Hop) *Decision {
	for _, trace := range slices.Backward(hop.Hooks) {
		if trace.Hook != iptables.Output && trace.Hook != iptables.Prerouting {
			continue
		}
		if s := e.lastReturn(trace); s != nil {
			return e.decided(*s)
		}
	}
	return nil
}

// lastReturn is the last rule of a hook that returned or accepted a packet. A foreign
// one counts only where none of Istio's did, since then that saw the packet before.
func (e evaluator) lastReturn(trace HookTrace) *iptables.Step {
	var others *iptables.Step
	for i := len(trace.Steps) - 1; i >= 0; i-- {
		s := &trace.Steps[i]
		ends := s.Rule.Target == iptables.Accept || s.Rule.Target == iptables.Return
		switch {
		case s.Maybe || !ends || s.Table != iptables.NAT && s.Table != iptables.Mangle:
		case e.Own.Has(s.Table, s.Chain):
			return s
		case others == nil && (s.Rule.Target == iptables.Accept || s.Chain == trace.Hook || e.MeshOf(s.Table, s.Chain) != infer.OtherMesh):
			others = s
		}
	}
	return others
}

// notCaptured returns why no rule took a packet.
func (e evaluator) notCaptured(hop Hop) Cause {
	entered := func(chain string) bool {
		return slices.ContainsFunc(hop.Hooks, func(trace HookTrace) bool {
			return slices.ContainsFunc(trace.Steps, func(s iptables.Step) bool { return jumpsTo(s.Rule, chain) })
		})
	}
	switch {
	case !e.Captures() && !e.Ambient:
		return NoRules
	case hop.State == iptables.Established:
		return NotFirst
	case hop.State == iptables.Invalid:
		return NotTracked
	case !e.Captures():
		return NotByAmbient
	case hop.Proto == iptables.UDP:
		return OtherUDP
	case hop.Proto != iptables.TCP:
		return OtherProtocol
	case hop.Owner == nil && entered(capture.ChainInbound):
		return OtherPort
	case hop.Owner == nil:
		return NoInbound
	case entered(capture.ChainOutput) && e.c.ManyOwnerGroups() && !entered(capture.ChainOutputGroup):
		return OtherGroup
	case entered(capture.ChainOutput) && e.c.OutboundPrefixes.Empty() && len(e.c.OutboundPorts) == 0:
		return NoOutbound
	case entered(capture.ChainOutput):
		return OtherDestination
	}
	return NoJump
}
