package capture

import (
	"net/netip"

	"istio-init/iptables"
)

// The chains, by Istio's names, which its tools and its users look for.
const (
	chainInbound    = "ISTIO_INBOUND"
	chainInRedirect = "ISTIO_IN_REDIRECT"
	chainOutput     = "ISTIO_OUTPUT"
	chainRedirect   = "ISTIO_REDIRECT"
	chainDrop       = "ISTIO_DROP"
)

// The names of iptables that the rules are written in.
type (
	rule  = iptables.Rule
	match = iptables.Match
)

// when returns the rule that does something with the packets of a match.
func when(m match, do iptables.Target) rule { return rule{Match: m, Target: do} }

func jump(chain string) iptables.Target { return iptables.Jump{Chain: chain} }

// passthrough is the source address of the proxy's inbound connections to the
// app: Istio's constant for each family.
func passthrough(f iptables.Family) netip.Prefix {
	if f == iptables.IPv6 {
		return netip.MustParsePrefix("::6/128")
	}
	return netip.MustParsePrefix("127.0.0.6/32")
}

// Rules returns the rules of a valid config for one family. The generation 1.0
// has none for IPv6, which it did not capture.
func Rules(c Config, f iptables.Family) iptables.Ruleset {
	rs := iptables.Ruleset{Family: f}
	if c.Generation == Istio1_0 && f == iptables.IPv6 {
		return rs
	}
	if c.DropInvalid {
		rs.Tables = append(rs.Tables, dropInvalid())
	}
	rs.Tables = append(rs.Tables, nat(c, f))
	return rs
}

// nat redirects. Each built-in chain has one jump, so that what is ours can be
// told from what is not.
func nat(c Config, f iptables.Family) iptables.Table {
	t := iptables.Table{Name: iptables.NAT}
	chain := func(name string, rules ...rule) {
		t.Chains = append(t.Chains, iptables.Chain{Name: name, Rules: rules})
	}
	if !c.InboundPorts.Empty() || len(c.VirtualInterfaces) > 0 {
		chain(iptables.Prerouting, when(match{Proto: iptables.TCP}, jump(chainInbound)))
	}
	chain(iptables.Output, when(outputHook(c), jump(chainOutput)))
	chain(chainInbound, inbound(c, f)...)
	chain(chainInRedirect, when(match{Proto: iptables.TCP}, iptables.Redirect{Port: c.InboundPort}))
	chain(chainOutput, output(c, f)...)
	chain(chainRedirect, when(match{Proto: iptables.TCP}, iptables.Redirect{Port: c.ProxyPort}))
	return t
}

// outputHook is what enters ISTIO_OUTPUT: everything, since DNS over UDP shares
// the chain; TCP alone in the older generations.
func outputHook(c Config) match {
	if c.Generation == Current {
		return match{}
	}
	return match{Proto: iptables.TCP}
}

// dropInvalid drops packets that fit no connection, so that the kernel does not
// answer them with a reset that kills a healthy one.
func dropInvalid() iptables.Table {
	return iptables.Table{Name: iptables.Mangle, Chains: []iptables.Chain{
		{Name: iptables.Prerouting, Rules: []rule{when(match{State: iptables.Is(iptables.Invalid)}, jump(chainDrop))}},
		{Name: chainDrop, Rules: []rule{when(match{}, iptables.Drop)}},
	}}
}
