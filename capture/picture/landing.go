package picture

import (
	"strings"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/iptables"
)

// An end is where a rule sends packets, if it is not a chain.
type end struct {
	landing path.Outcome
	port    uint16 // of the landings that have one
}

// end returns where a rule sends packets; ok is false if they go to a chain or to the
// next rule.
func (v *view) end(c *chain, r viewRule) (_ end, ok bool) {
	switch t := r.rule.Target.(type) {
	case iptables.Redirect:
		return end{v.redirect(c, t.Port), t.Port}, true
	case iptables.TProxy:
		return end{path.Inbound, t.Port}, true
	case iptables.Verdict:
		switch {
		case t == iptables.Drop:
			return end{landing: path.Dropped}, true
		case t == iptables.Accept && c.name == capture.ChainDivert:
			return end{path.Inbound, v.config.InboundPort}, true
		}
		return end{landing: path.Direct}, true
	}
	if r.rule.Foreign != nil && strings.HasPrefix(r.rule.Foreign.Target, "REJECT") {
		return end{landing: path.Dropped}, true
	}
	return end{}, false
}

// redirect returns what listens on the port of a REDIRECT.
func (v *view) redirect(c *chain, port uint16) path.Outcome {
	switch {
	case c.name == capture.ChainInRedirect:
		return path.Inbound
	case c.name == capture.ChainRedirect:
		return path.Outbound
	case port == capture.DNSProxyPort && !v.ambient:
		return path.DNS
	case v.captures && port == v.config.ProxyPort:
		return path.Outbound
	case v.captures && port == v.config.InboundPort:
		return path.Inbound
	}
	return path.Unknown
}

// leads returns where the first rule of a chain sends packets that does not leave them
// as they are.
func (v *view) leads(c *chain) path.Outcome {
	for _, r := range c.rules {
		if e, ok := v.end(c, r); ok && e.landing != path.Direct {
			return e.landing
		}
	}
	return path.Direct
}
