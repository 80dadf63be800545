package picture

import (
	"fmt"
	"strings"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/iptables"
)

// A way is what becomes of packets, and by that how they are drawn.
type way uint8

const (
	incoming way = iota // from outside to the proxy
	outgoing            // from the app to the proxy or the agent
	selfCall            // from the pod to itself
	leftAway            // left alone
	lostWay             // dropped
)

// An end is where a rule sends packets.
type end struct {
	landing path.Outcome
	port    uint16 // of the landings that have one
}

// end tells where a rule sends what it takes; ok is false when the packet goes on
// in a chain or behind the rule.
func (s *sheet) end(c *chain, r row) (_ end, ok bool) {
	switch t := r.rule.Target.(type) {
	case iptables.Redirect:
		return end{s.redirect(c, t.Port), t.Port}, true
	case iptables.TProxy:
		return end{path.Inbound, t.Port}, true
	case iptables.Verdict:
		switch {
		case t == iptables.Drop:
			return end{landing: path.Dropped}, true
		case t == iptables.Accept && c.name == capture.ChainDivert:
			return end{path.Inbound, s.config.InboundPort}, true
		}
		return end{landing: path.Direct}, true
	}
	if r.rule.Foreign != nil && strings.HasPrefix(r.rule.Foreign.Target, "REJECT") {
		return end{landing: path.Dropped}, true
	}
	return end{}, false
}

// redirect tells what listens on the port of a REDIRECT.
func (s *sheet) redirect(c *chain, port uint16) path.Outcome {
	switch {
	case c.name == capture.ChainInRedirect:
		return path.Inbound
	case c.name == capture.ChainRedirect:
		return path.Outbound
	case port == capture.DNSProxyPort:
		return path.DNS
	case s.captures && port == s.config.ProxyPort:
		return path.Outbound
	case s.captures && port == s.config.InboundPort:
		return path.Inbound
	}
	return path.Unknown
}

// leads tells where a chain captures to: as its first rule that does not leave
// packets alone.
func (s *sheet) leads(c *chain) path.Outcome {
	for _, r := range c.rows {
		if e, ok := s.end(c, r); ok && e.landing != path.Direct {
			return e.landing
		}
	}
	return path.Direct
}

// wayTo is how what lands somewhere is drawn, when it came by a side.
func wayTo(l path.Outcome, out bool) way {
	switch {
	case l == path.Dropped:
		return lostWay
	case l == path.Inbound && out:
		return selfCall
	case l == path.Inbound:
		return incoming
	case l == path.Direct:
		return leftAway
	}
	return outgoing
}

// name says in words where packets land; out says that they came from the pod.
func (e end) name(out bool) string {
	switch e.landing {
	case path.Outbound:
		return fmt.Sprintf("proxy: outbound port %d", e.port)
	case path.Inbound:
		return fmt.Sprintf("proxy: inbound port %d", e.port)
	case path.DNS:
		return fmt.Sprintf("agent: port %d for look-ups", e.port)
	case path.Dropped:
		return "dropped"
	case path.Unknown:
		return fmt.Sprintf("port %d of the pod", e.port)
	}
	if out {
		return "left alone: on to its destination"
	}
	return "left alone: to the app"
}
