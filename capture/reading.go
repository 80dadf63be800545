package capture

import (
	"cmp"
	"net/netip"
	"slices"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Place is where a rule stands.
type Place struct {
	Table, Chain string
	Index        int // in the chain, from 0
}

// A Reading is what the rules of one family say: why each is there, and the
// configuration that asks for them. It is made from the rules alone, whoever put
// them there: this program, or Istio's of any generation.
type Reading struct {
	Rules   iptables.Ruleset
	reasons map[Place]string
	config  Config
	reader  reader
}

// Reason says why a rule is there, as a clause in terms of traffic: "port 3306 is
// excluded by -o". It is "" for a rule of which that is not known.
func (r *Reading) Reason(at Place) string { return r.reasons[at] }

// Guarded tells whether the guardrails are there with which Istio stops a pod while
// it changes its rules, and which stay when it is killed then.
func (r *Reading) Guarded() bool { return r.reader.istio.guarded }

// Captures tells whether chains of a mesh are there.
func (r *Reading) Captures() bool {
	return slices.ContainsFunc(r.Rules.Tables, func(t iptables.Table) bool {
		return slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool { return iptables.Own(c.Name) })
	})
}

// Read understands the rules of one family.
func Read(rs iptables.Ruleset) *Reading {
	r := &Reading{Rules: rs, reasons: map[Place]string{}}
	r.config = Config{Generation: Istio1_15, TProxyTable: DefaultTProxyTable, OwnerGroups: Scope[iptables.IDRange]{All: true}}
	r.reader = reader{family: rs.Family, c: &r.config, dns: capturesLookups(rs), istio: lookForIstio(rs)}
	// nat OUTPUT first: it tells which interfaces are excluded, and which are
	// virtual machines' only in the other chains.
	for _, chain := range []string{ChainOutput, ChainOutputGroup} {
		r.chain(iptables.NAT, chain)
	}
	for _, root := range []string{ChainExclude, ChainOutputApp, ChainInclude} {
		for _, c := range rs.Table(iptables.NAT).Chains {
			if listName(c.Name) == root {
				r.chain(iptables.NAT, c.Name)
			}
		}
	}
	for _, chain := range []string{ChainOutputDNS, ChainInbound, ChainInRedirect, ChainRedirect} {
		r.chain(iptables.NAT, chain)
	}
	for _, chain := range []string{ChainInbound, ChainDivert, ChainTProxy, ChainOutput, ChainDrop} {
		r.chain(iptables.Mangle, chain)
	}
	for _, chain := range []string{ChainInbound, ChainOutputDNS} {
		r.chain(iptables.Raw, chain)
	}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			if !iptables.Own(c.Name) {
				r.chain(t.Name, c.Name)
			}
		}
	}
	return r
}

// capturesLookups tells whether look-ups are captured, in this family or another:
// the table raw has rules for them in every one.
func capturesLookups(rs iptables.Ruleset) bool {
	raw := rs.Table(iptables.Raw)
	return len(raw.Chain(ChainOutputDNS).Rules)+len(raw.Chain(iptables.Output).Rules) > 0
}

// chain reads one chain.
func (r *Reading) chain(table, chain string) {
	read := (*reader).builtin
	if iptables.Own(chain) {
		read = forms[table+" "+listName(chain)]
	}
	rules := r.Rules.Table(table).Chain(chain).Rules
	r.reader.chain, r.reader.tunnel, r.reader.left, r.reader.leaves = table+" "+chain, false, 0, 0
	shapes := each(rules, form)
	for _, shape := range shapes {
		if shape == "i RETURN" {
			r.reader.leaves++
		}
	}
	for i, rule := range rules {
		if reason := read(&r.reader, shapes[i], rule); reason != "" {
			r.reasons[Place{table, chain, i}] = reason
		}
	}
}

// Configuration returns the configuration that makes the rules of readings of
// different families. What rules do not show has its zero value, or Istio's
// default where zero means nothing: the routing table of TPROXY.
func Configuration(readings ...*Reading) Config {
	var c Config
	first := true
	for _, r := range readings {
		if !r.Captures() {
			continue
		}
		if first {
			c, first = r.config, false
			c.OutboundPrefixes.Only, c.OutboundPrefixes.Except = slices.Clone(c.OutboundPrefixes.Only), slices.Clone(c.OutboundPrefixes.Except)
			continue
		}
		c = c.with(r.config)
	}
	if c.Generation == Istio1_0 && c.InboundPort == 0 {
		c.InboundPort = c.ProxyPort
	}
	c.TunnelPort = cmp.Or(c.TunnelPort, DefaultTunnelPort)
	c.TProxyMark = cmp.Or(c.TProxyMark, DefaultTProxyMark)
	return c
}

// with adds what the rules of another family say.
func (c Config) with(other Config) Config {
	if c.OutboundPrefixes.All != other.OutboundPrefixes.All { // every destination of one family
		everything := func(of Config, f inet.Family) []netip.Prefix {
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
