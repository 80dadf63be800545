package path

import (
	"net/netip"

	"istio-init/iptables"
)

// obstruct ends a hop of mode TPROXY whose packets, or the answers to them, are lost by a
// sysctl, see [capture.Sysctls.Obstacles].
func (e evaluator) obstruct(hop *Hop, p iptables.Packet) {
	if hop.Proto != iptables.TCP || hop.Outcome == Dropped || hop.Outcome == Unknown {
		return
	}
	for _, o := range e.network.Obstacles {
		lost := false
		switch {
		case !o.Of(e.Rules.Family):
		case o.Interface == "":
			lost = hop.Owner == nil && p.Mark == e.c.TProxyMark
		case o.Interface == hop.In:
			lost = p.Mark == e.c.TProxyMark
		case hop.Owner != nil && o.Interface == p.Out: // it leaves by it
			lost = e.answerMark(hop) == e.c.TProxyMark
		}
		if lost {
			hop.Outcome, hop.Port, hop.Captured = Dropped, 0, false
			hop.Decided = &Decision{Cause: BySysctl, Obstacle: o}
			return
		}
	}
}

// answerMark returns the mark of the packets that come back for a hop that leaves.
func (e evaluator) answerMark(hop *Hop) uint32 {
	dst := hop.Src
	if dst.Port() == 0 {
		dst = netip.AddrPortFrom(dst.Addr(), ephemeralPort)
	}
	return e.Rules.Trace(iptables.Packet{
		Hook: iptables.Prerouting, Proto: hop.Proto, In: hop.Out, Src: hop.Dst, Dst: dst, State: iptables.Established,
	}).Packet.Mark
}
