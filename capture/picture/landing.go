package picture

import (
	"strings"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/iptables"
)

// An end is where a rule sends packets.
type end struct {
	landing path.Outcome
	port    uint16 // of the landings that have one
}

// end tells where a rule sends what it takes; ok is false when the packet goes on
// in a chain or behind the rule.
func (s *view) end(c *chain, r viewRule) (_ end, ok bool) {
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
func (s *view) redirect(c *chain, port uint16) path.Outcome {
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
func (s *view) leads(c *chain) path.Outcome {
	for _, r := range c.rules {
		if e, ok := s.end(c, r); ok && e.landing != path.Direct {
			return e.landing
		}
	}
	return path.Direct
}
