package path

import "istio-init/iptables"

// A Caveat is something that could send a connection another way than the path says, and
// that could not be evaluated.
type Caveat struct {
	Cause CaveatCause
	Of    Lost // the packet
	Hook  string
	Step  iptables.Step // for UnknownCondition and UnknownTarget
	Chain BaseChain     // for ForeignChain
	Mark  uint32        // for UnknownRoute
}

// A CaveatCause is the kind of a caveat.
type CaveatCause uint8

// The causes. The zero value: a foreign rule with a condition that is not known here.
const (
	UnknownCondition CaveatCause = iota
	UnknownTarget                // a foreign rule with a target that is not known here
	ForeignChain                 // a base chain of nftables
	UnknownRoute                 // the route of a packet with a mark
	RoutedHere                   // a policy rule routes the packet to this machine, which does not have its destination
	OutOfSteps                   // too many chains, or a loop of chains
)

var caveatNames = [...]string{"condition", "target", "nft-chain", "route", "routed-here", "steps"}

// String returns the name of the cause.
func (c CaveatCause) String() string { return caveatNames[c] }

// Uncertain reports whether the connection may go another way.
func (l *Hop) Uncertain() bool { return len(l.Caveats) > 0 }

// caveat adds what could not be evaluated at a hook.
func (e evaluator) caveat(hop *Hop, p iptables.Packet, w iptables.Walk) {
	for _, c := range e.network.BaseChains {
		if c.mayDecide(p, e.Rules.Family) {
			hop.Caveats = append(hop.Caveats, Caveat{Cause: ForeignChain, Hook: p.Hook, Chain: c})
		}
	}
	if w.Taken {
		hop.Caveats = append(hop.Caveats, Caveat{Cause: UnknownTarget, Hook: p.Hook, Step: w.Steps[len(w.Steps)-1]})
	}
	if !w.Uncertain {
		return
	}
	known := len(hop.Caveats)
	for _, s := range w.Steps {
		if s.Matters {
			cause := UnknownTarget
			if s.Maybe {
				cause = UnknownCondition
			}
			hop.Caveats = append(hop.Caveats, Caveat{Cause: cause, Hook: p.Hook, Step: s})
		}
	}
	if w.BrokenOff || len(hop.Caveats) == known {
		hop.Caveats = append(hop.Caveats, Caveat{Cause: OutOfSteps, Hook: p.Hook})
	}
}
