package istio

import (
	"istio-init/capture"
	"istio-init/iptables"
)

// A Verdict is the outcome of a packet, and its marks.
type Verdict struct {
	Dropped              bool
	Redirected, TProxied uint16
	Mark, ConnMark       uint32
	Zone                 uint16
}

// Walk evaluates a packet with the rules of its hooks.
func Walk(rs iptables.Ruleset, p iptables.Packet) Verdict {
	w := rs.Trace(p)
	if p.Hook == iptables.Output {
		w = rs.TraceSent(p)
	}
	return Verdict{
		Dropped: w.Verdict == iptables.Drop, Redirected: w.Packet.RedirectedTo, TProxied: w.Packet.TProxiedTo,
		Mark: w.Packet.Mark, ConnMark: w.Packet.ConnMark, Zone: w.Packet.Zone,
	}
}

// Same compares verdicts. Istio's own rules have other conntrack zones for DNS. In mode
// TPROXY without inbound ports they set marks that have no effect; then marks are not
// compared.
func Same(c capture.Config, mended bool, want, got Verdict) bool {
	if !mended && c.Mode == capture.TProxy && c.InboundPorts.Empty() {
		want.Mark, want.ConnMark, got.Mark, got.ConnMark = 0, 0, 0, 0
	}
	if !mended {
		want.Zone, got.Zone = 0, 0
	}
	return want == got
}
