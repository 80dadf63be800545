package picture

import (
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// An end is where a rule sends packets.
type end struct {
	landing capture.Landing
	port    uint16 // of the landings that have one
}

// end tells where a rule sends what it takes; ok is false when the packet goes on
// in a chain or behind the rule.
func (s *view) end(c *chain, r viewRule) (_ end, ok bool) {
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
func (s *view) redirect(c *chain, port uint16) capture.Landing {
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
func (s *view) leads(c *chain) capture.Landing {
	for _, r := range c.rules {
		if e, ok := s.end(c, r); ok && e.landing != capture.Direct {
			return e.landing
		}
	}
	return capture.Direct
}
