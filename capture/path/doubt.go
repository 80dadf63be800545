package path

import "istio-init/iptables"

// A Doubt is something that could send a connection another way than the path says, and
// that could not be evaluated.
type Doubt struct {
	Cause DoubtCause
	Of    Lost // the packet
	Hook  string
	Step  iptables.Step // for UnknownCondition and UnknownTarget
	Chain BaseChain     // for ForeignChain
	Mark  uint32        // for UnknownRoute
}

// A DoubtCause is the kind of a doubt.
type DoubtCause uint8

// The causes. The zero value: a foreign rule with a condition that is not known here.
const (
	UnknownCondition DoubtCause = iota
	UnknownTarget               // a foreign rule with a target that is not known here
	ForeignChain                // a base chain of nftables
	UnknownRoute                // the route of a packet with a mark
	RoutedHere                  // a policy rule routes the packet to this machine, which does not have its destination
	OutOfSteps                  // too many chains, or a loop of chains
)

var doubtNames = [...]string{"condition", "target", "nft-chain", "route", "routed-here", "steps"}

// String returns the name of the cause.
func (c DoubtCause) String() string { return doubtNames[c] }

// Uncertain reports whether the connection may go another way.
func (l *Hop) Uncertain() bool { return len(l.Doubts) > 0 }

// doubt adds what could not be evaluated at a hook.
func (e evaluator) doubt(hop *Hop, p iptables.Packet, w iptables.Walk) {
	for _, c := range e.network.BaseChains {
		if c.mayDecide(p, e.Rules.Family) {
			hop.Doubts = append(hop.Doubts, Doubt{Cause: ForeignChain, Hook: p.Hook, Chain: c})
		}
	}
	if w.Taken {
		hop.Doubts = append(hop.Doubts, Doubt{Cause: UnknownTarget, Hook: p.Hook, Step: w.Steps[len(w.Steps)-1]})
	}
	if !w.Uncertain {
		return
	}
	known := len(hop.Doubts)
	for _, s := range w.Steps {
		if s.Matters {
			cause := UnknownTarget
			if s.Maybe {
				cause = UnknownCondition
			}
			hop.Doubts = append(hop.Doubts, Doubt{Cause: cause, Hook: p.Hook, Step: s})
		}
	}
	if w.BrokenOff || len(hop.Doubts) == known {
		hop.Doubts = append(hop.Doubts, Doubt{Cause: OutOfSteps, Hook: p.Hook})
	}
}
