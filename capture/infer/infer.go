package infer

import (
	"cmp"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// An Inference is what the rules of one family say: why each is there, which is its role, and
// the configuration that asks for them. It is made from the rules alone, whoever put them there:
// this program, or any release of Istio's.
type Inference struct {
	Rules   iptables.Ruleset   // with the roles of the rules; zero where they are unknown
	Own     iptables.Ownership // what of them is ours
	Ambient bool               // Istio's ambient mode is there, see [Ambient]
	Whole   bool               // nobody else has a place in the tables, as in those of native nftables
	config  capture.Config
	reader  reader
}

// Guarded reports whether the guardrails are there with which Istio drops all traffic
// while it changes its rules. They stay when it is killed then.
func (r *Inference) Guarded() bool { return r.reader.istio.guarded }

// Captures reports whether chains of ours are there. Those of Istio's ambient mode are not.
func (r *Inference) Captures() bool { return len(r.Own.Chains) > 0 }

// KnowsTunnel reports whether a rule for the proxy's tunnel port is there. Istio has it since 1.7,
// and the configuration has a port without it too.
func (r *Inference) KnowsTunnel() bool { return r.reader.knowsTunnel }

// Infer reads the rules of one family. It does not change them.
func Infer(rs iptables.Ruleset) *Inference {
	rs = clone(rs)
	live := state(rs)
	r := &Inference{Rules: rs, Own: Ownership(live), Ambient: Ambient(live)}
	r.config = capture.Config{Generation: capture.Istio1_15, TProxyTable: capture.DefaultTProxyTable, OwnerGroups: capture.Selector[iptables.IDRange]{All: true}}
	r.reader = reader{family: rs.Family, own: r.Own, c: &r.config, dns: capturesDNS(rs), istio: lookForIstio(rs)}
	// nat OUTPUT first: it tells which interfaces are excluded, and which are
	// virtual only in the other chains.
	for _, root := range []string{
		capture.ChainOutput, capture.ChainExcludeGroup, capture.ChainOutputGroup,
		capture.ChainExclude, capture.ChainOutputApp, capture.ChainInclude,
	} {
		for _, c := range rs.Table(iptables.NAT).Chains {
			if capture.ListChain(c.Name) == root {
				r.chain(iptables.NAT, c.Name)
			}
		}
	}
	for _, chain := range []string{capture.ChainOutputDNS, capture.ChainInbound, capture.ChainInRedirect, capture.ChainRedirect} {
		r.chain(iptables.NAT, chain)
	}
	for _, chain := range []string{capture.ChainInbound, capture.ChainDivert, capture.ChainTProxy, capture.ChainOutput, capture.ChainDrop} {
		r.chain(iptables.Mangle, chain)
	}
	for _, chain := range []string{capture.ChainInbound, capture.ChainOutputDNS} {
		r.chain(iptables.Raw, chain)
	}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			if r.Captures() && !r.Own.Has(t.Name, c.Name) { // else it is not Istio's
				r.reader.read(t.Name, c.Name, c.Rules) // without a look for it among all chains
			}
		}
	}
	r.reader.assumeTunnel()
	return r
}

// clone returns a ruleset whose rules can be changed.
func clone(rs iptables.Ruleset) iptables.Ruleset {
	rs.Tables = slices.Clone(rs.Tables)
	for i, t := range rs.Tables {
		rs.Tables[i].Chains = slices.Clone(t.Chains)
		for j, c := range t.Chains {
			rs.Tables[i].Chains[j].Rules = slices.Clone(c.Rules)
		}
	}
	return rs
}

// capturesDNS reports whether DNS queries are captured, in this family or the other:
// the table raw has zones for them in both.
func capturesDNS(rs iptables.Ruleset) bool {
	raw := rs.Table(iptables.Raw)
	return len(raw.Chain(capture.ChainOutputDNS).Rules) > 0 || slices.ContainsFunc(raw.Chain(iptables.Output).Rules, func(r iptables.Rule) bool {
		_, zone := r.Target.(iptables.Zone)
		return zone && r.Proto == iptables.UDP
	})
}

// chain reads one chain.
func (r *Inference) chain(table, name string) {
	r.reader.read(table, name, r.Rules.Table(table).Chain(name).Rules)
}

// Configuration returns the configuration that makes the rules of different
// families. What rules do not show has its zero value, or Istio's default where zero
// is not valid: the routing table of TPROXY.
func Configuration(inferences ...*Inference) capture.Config {
	var c capture.Config
	first := true
	for _, r := range inferences {
		if !r.Captures() {
			continue
		}
		if first {
			c, first = r.config, false
			c.OutboundPrefixes.Only, c.OutboundPrefixes.Except = slices.Clone(c.OutboundPrefixes.Only), slices.Clone(c.OutboundPrefixes.Except)
			continue
		}
		c = merge(c, r.config)
	}
	if c.Generation == capture.Istio1_0 && c.InboundPort == 0 {
		c.InboundPort = c.ProxyPort
	}
	c.TunnelPort = cmp.Or(c.TunnelPort, capture.DefaultTunnelPort)
	c.TProxyMark = cmp.Or(c.TProxyMark, capture.DefaultTProxyMark)
	return c
}

// merge adds to a configuration what the rules of another family say.
func merge(c, other capture.Config) capture.Config {
	if c.OutboundPrefixes.All != other.OutboundPrefixes.All { // every destination of one family
		everything := func(of capture.Config, f inet.Family) []netip.Prefix {
			if of.OutboundPrefixes.All {
				return []netip.Prefix{f.All()}
			}
			return of.OutboundPrefixes.Only
		}
		c.OutboundPrefixes.Only = everything(c, inet.IPv4)
		other.OutboundPrefixes.Only = everything(other, inet.IPv6)
		c.OutboundPrefixes.All = false
	}
	c.OutboundPrefixes.Only = append(c.OutboundPrefixes.Only, other.OutboundPrefixes.Only...)
	c.OutboundPrefixes.Except = append(c.OutboundPrefixes.Except, other.OutboundPrefixes.Except...)
	for _, name := range other.VirtualInterfaces { // which Istio's rules show where something is captured
		if !slices.Contains(c.VirtualInterfaces, name) {
			c.VirtualInterfaces = append(slices.Clip(c.VirtualInterfaces), name)
		}
	}
	c.DNS.All = c.DNS.All || other.DNS.All
	c.DNS.Servers = slices.Concat(c.DNS.Servers, other.DNS.Servers)
	if !c.LoopbackV4.IsValid() {
		c.LoopbackV4 = other.LoopbackV4
	}
	return c
}
