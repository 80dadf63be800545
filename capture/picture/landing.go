package picture

import (
	"fmt"
	"strings"

	"istio-init/capture"
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
	landing capture.Landing
	port    uint16 // of the landings that have one
}

// end tells where a rule sends what it takes; ok is false when the packet goes on
// in a chain or behind the rule.
func (s *sheet) end(c *chain, r row) (_ end, ok bool) {
	switch t := r.rule.Target.(type) {
	case iptables.Redirect:
		return end{s.redirect(c, t.Port), t.Port}, true
	case iptables.TProxy:
		return end{capture.Inbound, t.Port}, true
	case iptables.Verdict:
		switch {
		case t == iptables.Drop:
			return end{landing: capture.Dropped}, true
		case t == iptables.Accept && c.name == capture.ChainDivert:
			return end{capture.Inbound, s.config.InboundPort}, true
		}
		return end{landing: capture.Direct}, true
	}
	if r.rule.Foreign != nil && strings.HasPrefix(r.rule.Foreign.Target, "REJECT") {
		return end{landing: capture.Dropped}, true
	}
	return end{}, false
}

// redirect tells what listens on the port of a REDIRECT.
func (s *sheet) redirect(c *chain, port uint16) capture.Landing {
	switch {
	case c.name == capture.ChainInRedirect:
		return capture.Inbound
	case c.name == capture.ChainRedirect:
		return capture.Outbound
	case port == capture.DNSProxyPort:
		return capture.Lookup
	case s.captures && port == s.config.ProxyPort:
		return capture.Outbound
	case s.captures && port == s.config.InboundPort:
		return capture.Inbound
	}
	return capture.Unknown
}

// leads tells where a chain captures to: as its first rule that does not leave
// packets alone.
func (s *sheet) leads(c *chain) capture.Landing {
	for _, r := range c.rows {
		if e, ok := s.end(c, r); ok && e.landing != capture.Direct {
			return e.landing
		}
	}
	return capture.Direct
}

// wayTo is how what lands somewhere is drawn, when it came by a side.
func wayTo(l capture.Landing, out bool) way {
	switch {
	case l == capture.Dropped:
		return lostWay
	case l == capture.Inbound && out:
		return selfCall
	case l == capture.Inbound:
		return incoming
	case l == capture.Direct:
		return leftAway
	}
	return outgoing
}

// name says in words where packets land; out says that they came from the pod.
func (e end) name(out bool) string {
	switch e.landing {
	case capture.Outbound:
		return fmt.Sprintf("proxy: outbound port %d", e.port)
	case capture.Inbound:
		return fmt.Sprintf("proxy: inbound port %d", e.port)
	case capture.Lookup:
		return fmt.Sprintf("agent: port %d for look-ups", e.port)
	case capture.Dropped:
		return "dropped"
	case capture.Unknown:
		return fmt.Sprintf("port %d of the pod", e.port)
	}
	if out {
		return "left alone: on to its destination"
	}
	return "left alone: to the app"
}
