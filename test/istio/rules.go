package istio

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Rules returns the rules that a release of Istio makes for a config, in the
// order in which it builds them, written from its documented behaviour. It shares only
// the config with the rules of package capture. mended adds the intended differences
// (docs/differences.md); without it the text is Istio's own.
//
// Features that an older release did not have are placed as in the current one: in 1.0
// all but -p, -u, -g, -b, -d, -i and -x, in 1.15 the chain for DNS over UDP, whose rules
// were in nat OUTPUT.
func Rules(c capture.Config, f inet.Family, mended bool) iptables.Ruleset {
	i := istio{c: c, f: f, mended: mended, tables: map[string]map[string][]string{}}
	rs := iptables.Ruleset{Family: f}
	if c.Generation == capture.Istio1_0 && f == inet.IPv6 {
		return rs // which it did not capture
	}
	i.build()
	for _, table := range []string{"raw", "mangle", "nat"} {
		t := iptables.Table{Name: table}
		for _, chain := range slices.Sorted(maps.Keys(i.tables[table])) {
			ch := iptables.Chain{Name: chain}
			for _, text := range i.tables[table][chain] {
				r, err := iptables.ParseRule(f, text)
				if err != nil {
					panic(err)
				}
				ch.Rules = append(ch.Rules, r)
			}
			t.Chains = append(t.Chains, ch)
		}
		if len(t.Chains) > 0 {
			rs.Tables = append(rs.Tables, t)
		}
	}
	return rs
}

type istio struct {
	c      capture.Config
	f      inet.Family
	mended bool
	tables map[string]map[string][]string
}

func (i *istio) at(table, chain string, index int, format string, args ...any) {
	if i.tables[table] == nil {
		i.tables[table] = map[string][]string{}
	}
	rules := i.tables[table][chain]
	if index < 0 {
		index = len(rules)
	}
	i.tables[table][chain] = slices.Insert(rules, index, fmt.Sprintf(format, args...))
}

func (i *istio) add(table, chain, format string, args ...any) {
	i.at(table, chain, -1, format, args...)
}

// pick returns the text of the family.
func (i *istio) pick(v4, v6 string) string {
	if i.f == inet.IPv6 {
		return v6
	}
	return v4
}

func (i *istio) prefixes(list []netip.Prefix) []string {
	var out []string
	for _, p := range list {
		if p.Addr().Is4() != (i.f == inet.IPv4) {
			continue
		}
		if p.Bits() == 0 {
			out = append(out, "")
			continue
		}
		out = append(out, "-d "+p.Masked().String()+" ")
	}
	return out
}

// includesLoopback reports whether a captured destination is on the loopback interface.
func (i *istio) includesLoopback() bool {
	return slices.ContainsFunc(i.c.OutboundPrefixes.Only, func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
}

// build makes the rules in the order in which Istio makes them.
func (i *istio) build() {
	c := i.c
	loop := i.pick("127.0.0.1/32", "::1/128")
	if i.f == inet.IPv4 && c.LoopbackV4.IsValid() {
		loop = c.LoopbackV4.Masked().String()
	}
	self := i.pick("127.0.0.6/32", "::6/128")
	include := i.prefixes(c.OutboundPrefixes.Only)
	if c.OutboundPrefixes.All {
		include = []string{""}
	}
	i.prerouting(include)
	switch {
	case c.Generation != capture.Istio1_0: // 1.7 and later
		i.add("nat", "ISTIO_INBOUND", "-p tcp -m tcp --dport %d -j RETURN", c.TunnelPort)
	case c.InboundPorts.All: // up to 1.12
		i.add("nat", "ISTIO_INBOUND", "-p tcp -m tcp --dport 22 -j RETURN")
	}
	i.add("nat", "ISTIO_REDIRECT", "-p tcp -j REDIRECT --to-ports %d", c.ProxyPort)
	i.add("nat", "ISTIO_IN_REDIRECT", "-p tcp -j REDIRECT --to-ports %d", c.InboundPort)
	i.inbound(loop)
	i.output(loop, self)
	i.destinations(include, loop)
	if c.Mode == capture.TProxy && (!i.mended || !c.InboundPorts.Empty()) { // Istio marks even without inbound ports
		i.tproxyExtras(loop, self)
	}
}

// prerouting makes the rules for interfaces and for packets in state INVALID.
func (i *istio) prerouting(include []string) {
	c := i.c
	tables := []string{"nat"}
	if c.Mode == capture.TProxy {
		tables = append(tables, "mangle")
	}
	for _, dev := range c.ExcludeInterfaces {
		for _, t := range tables {
			i.add(t, "PREROUTING", "-i %s -j RETURN", dev)
			i.add(t, "OUTPUT", "-o %s -j RETURN", dev)
		}
	}
	for _, dev := range c.VirtualInterfaces {
		i.at("nat", "PREROUTING", 0, "-i %s -j RETURN", dev)
	}
	if c.DropInvalid {
		i.add("mangle", "PREROUTING", "-m conntrack --ctstate INVALID -j ISTIO_DROP")
		i.add("mangle", "ISTIO_DROP", "-j DROP")
	}
	if i.mended && c.Mode == capture.TProxy { // traffic of virtual machines to these is outbound
		for _, d := range include {
			for _, dev := range c.VirtualInterfaces {
				i.add("mangle", "PREROUTING", "%s-i %s -j RETURN", d, dev)
			}
		}
	}
}

// output makes the rules of ISTIO_OUTPUT ahead of those for destinations.
func (i *istio) output(loop, self string) {
	c := i.c
	if c.Generation == capture.Current || c.DNS.Captures() { // all protocols since 1.24
		i.add("nat", "OUTPUT", "-j ISTIO_OUTPUT")
	} else {
		i.add("nat", "OUTPUT", "-p tcp -j ISTIO_OUTPUT")
	}
	for _, p := range c.OutboundExcludePorts {
		i.add("nat", "ISTIO_OUTPUT", "-p tcp -m tcp --dport %s -j RETURN", p)
		if c.Generation == capture.Current { // since 1.25
			i.add("nat", "ISTIO_OUTPUT", "-p udp -m udp --dport %s -j RETURN", p)
		}
	}
	if c.Generation == capture.Istio1_0 {
		i.owners1_0(loop)
	} else {
		i.add("nat", "ISTIO_OUTPUT", "-s %s -o lo -j RETURN", self)
		i.owners("uid", c.ProxyUIDs, loop)
		i.owners("gid", c.ProxyGIDs, loop)
	}
	i.groups()
	i.dns()
}

// destinations makes the rules for destinations and ports.
func (i *istio) destinations(include []string, loop string) {
	c := i.c
	i.add("nat", "ISTIO_OUTPUT", "-d %s -j RETURN", loop)
	for _, d := range i.prefixes(c.OutboundPrefixes.Except) {
		i.add("nat", "ISTIO_OUTPUT", "%s-j RETURN", d)
	}
	for _, p := range c.OutboundPorts {
		i.add("nat", "ISTIO_OUTPUT", "-p tcp -m tcp --dport %s -j ISTIO_REDIRECT", p)
	}
	for _, d := range include {
		i.add("nat", "ISTIO_OUTPUT", "%s-j ISTIO_REDIRECT", d)
		for _, dev := range c.VirtualInterfaces {
			i.at("nat", "PREROUTING", 0, "%s-i %s -j ISTIO_REDIRECT", d, dev)
		}
	}
	if c.Generation != capture.Current && !c.OutboundPrefixes.All && len(include) > 0 { // up to 1.22
		i.add("nat", "ISTIO_OUTPUT", "-j RETURN")
	}
}

func (i *istio) inbound(loop string) {
	c := i.c
	if c.InboundPorts.Empty() {
		return
	}
	if c.Mode == capture.TProxy {
		i.add("mangle", "ISTIO_DIVERT", "-j MARK --set-xmark %#x/0xffffffff", c.TProxyMark)
		i.add("mangle", "ISTIO_DIVERT", "-j ACCEPT")
		i.add("mangle", "ISTIO_TPROXY", "! -d %s -p tcp -j TPROXY --on-port %d --on-ip %s --tproxy-mark %#x/0xffffffff",
			loop, c.InboundPort, i.pick("0.0.0.0", "::"), c.TProxyMark)
		i.add("mangle", "PREROUTING", "-p tcp -j ISTIO_INBOUND")
		syn := ""
		if i.mended {
			syn = " ! --tcp-flags FIN,SYN,RST,ACK SYN"
			i.add("mangle", "ISTIO_INBOUND", "-p tcp -m tcp --dport %d -j RETURN", c.TunnelPort)
		}
		if !c.InboundPorts.All {
			for _, p := range c.InboundPorts.Only {
				i.add("mangle", "ISTIO_INBOUND", "-p tcp -m tcp --dport %s%s -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT", p, syn)
				i.add("mangle", "ISTIO_INBOUND", "-p tcp -m tcp --dport %s -j ISTIO_TPROXY", p)
			}
			return
		}
		for _, p := range c.InboundPorts.Except {
			i.add("mangle", "ISTIO_INBOUND", "-p tcp -m tcp --dport %s -j RETURN", p)
		}
		if syn != "" {
			syn = " -m tcp" + syn
		}
		i.add("mangle", "ISTIO_INBOUND", "-p tcp%s -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT", syn)
		i.add("mangle", "ISTIO_INBOUND", "-p tcp -j ISTIO_TPROXY")
		return
	}
	i.add("nat", "PREROUTING", "-p tcp -j ISTIO_INBOUND")
	if !c.InboundPorts.All {
		for _, p := range c.InboundPorts.Only {
			i.add("nat", "ISTIO_INBOUND", "-p tcp -m tcp --dport %s -j ISTIO_IN_REDIRECT", p)
		}
		return
	}
	for _, p := range c.InboundPorts.Except {
		i.add("nat", "ISTIO_INBOUND", "-p tcp -m tcp --dport %s -j RETURN", p)
	}
	i.add("nat", "ISTIO_INBOUND", "-p tcp -j ISTIO_IN_REDIRECT")
}
