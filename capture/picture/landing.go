package picture

import (
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// An end is where a rule sends packets, if it is not a chain.
type end struct {
	landing capture.Landing
	port    uint16 // of the landings that have one
}

// end returns where a rule sends packets; ok is false if they go to a chain or to the
// next rule.
func (v *view) end(c *chain, r viewRule) (_ end, ok bool) {
	switch t := r.rule.Target.(type) {
	case iptables.Redirect:
		return end{v.redirect(c, t.Port), t.Port}, true
	case iptables.TProxy:
		return end{capture.Inbound, t.Port}, true
	case iptables.Verdict:
		switch {
		case t == iptables.Drop:
			return end{landing: capture.Dropped}, true
		case t == iptables.Accept && c.name == capture.ChainDivert:
			return end{capture.Inbound, v.config.InboundPort}, true
		}
		return end{landing: capture.Direct}, true
	}
	if r.rule.Foreign != nil && strings.HasPrefix(r.rule.Foreign.Target, "REJECT") {
		return end{landing: capture.Dropped}, true
	}
	return end{}, false
}

// redirect returns what listens on the port of a REDIRECT.
func (v *view) redirect(c *chain, port uint16) capture.Landing {
	switch {
	case c.name == capture.ChainInRedirect:
		return capture.Inbound
	case c.name == capture.ChainRedirect:
		return capture.Outbound
	case port == capture.DNSProxyPort:
		return capture.Lookup
	case v.captures && port == v.config.ProxyPort:
		return capture.Outbound
	case v.captures && port == v.config.InboundPort:
		return capture.Inbound
	}
	return capture.Unknown
}

// leads returns where the first rule of a chain sends packets that does not leave them
// as they are.
func (v *view) leads(c *chain) capture.Landing {
	for _, r := range c.rules {
		if e, ok := v.end(c, r); ok && e.landing != capture.Direct {
			return e.landing
		}
	}
	return capture.Direct
}
