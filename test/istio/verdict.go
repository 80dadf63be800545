package istio

import (
	"istio-init/capture"
	"istio-init/iptables"
)

// A Verdict is where a packet lands and what it carries.
type Verdict struct {
	Dropped              bool
	Redirected, TProxied uint16
	Mark, ConnMark       uint32
	Zone                 uint16
}

// Walk sends a packet through the hooks.
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

// Same compares verdicts. Istio's own text marks in mode TPROXY without inbound ports
// too, to no effect, so that of that alone no marks are compared.
func Same(c capture.Config, mended bool, want, got Verdict) bool {
	if !mended && c.Mode == capture.TProxy && c.InboundPorts.Empty() {
		want.Mark, want.ConnMark, got.Mark, got.ConnMark = 0, 0, 0, 0
	}
	return want == got
}
