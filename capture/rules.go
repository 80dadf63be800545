package capture

import (
	"net/netip"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// The names of iptables that the rules are written in.
type (
	rule  = iptables.Rule
	match = iptables.Match
)

// when returns the rule that does something with the packets of a match.
func when(m match, do iptables.Target, why iptables.Role) rule {
	return rule{Match: m, Target: do, Role: why}
}

func jump(chain string) iptables.Target { return iptables.Jump{Chain: chain} }

// host returns the prefix that holds one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Rules returns the rules of a valid config for one family. There are none in
// mode None, and none for IPv6 in the generation 1.0, which did not capture it.
func Rules(c Config, f inet.Family) iptables.Ruleset { return rules(c, c.of(f)) }

// ListRules returns the same rules for a backend that has sets: of a list of ports one rule
// with all of them, of other lists one rule for each element in ascending order, whatever the
// length.
func ListRules(c Config, f inet.Family) iptables.Ruleset { return rules(c, c.withLists(f)) }

// IstioRules returns rules by which each connection arrives where Istio's own rules of the
// generation send it, but for -k in mode TProxy. So they lack what [Rules] does better: the
// self calls of every id of the proxy, the tunnel port in mode TProxy, and DNS over TCP to
// the own pod from a group of the proxy.
func IstioRules(c Config, f inet.Family) iptables.Ruleset {
	fc := c.of(f)
	fc.istio = true
	return rules(c, fc)
}

// Captures reports whether there are rules for a family.
func (c Config) Captures(f inet.Family) bool {
	return c.Mode != None && (c.Generation != Istio1_0 || f != inet.IPv6)
}

func rules(c Config, fc familyConfig) iptables.Ruleset {
	rs := iptables.Ruleset{Family: fc.family}
	if !c.Captures(fc.family) {
		return rs
	}
	for _, t := range []iptables.Table{rawTable(fc), mangleTable(fc), natTable(fc)} {
		if len(t.Chains) > 0 {
			rs.Tables = append(rs.Tables, t)
		}
	}
	return rs
}

// A table takes chains in the order in which they are written here.
type table iptables.Table

// chain adds a chain. A built-in chain without rules is left out.
func (t *table) chain(name string, rules ...rule) {
	if Owns(name) || len(rules) > 0 {
		t.Chains = append(t.Chains, iptables.Chain{Name: name, Rules: rules})
	}
}

var tcp = match{Proto: iptables.TCP}

// natTable redirects connections. Each built-in chain has one jump, so that
// our rules are distinguished from foreign ones.
func natTable(c familyConfig) iptables.Table {
	t := table{Name: iptables.NAT}
	if c.redirectsInbound() || len(c.VirtualInterfaces) > 0 {
		t.chain(iptables.Prerouting, when(tcp, jump(ChainInbound), RoleInboundHook))
	}
	t.chain(iptables.Output, when(outputHook(c), jump(ChainOutput), RoleOutboundHook))
	t.chain(ChainInbound, inbound(c)...)
	t.chain(ChainInRedirect, when(tcp, iptables.Redirect{Port: c.InboundPort}, RoleToInbound))
	t.chain(ChainOutput, output(c)...)
	if c.groupTree {
		tree := iptables.GroupTree{
			Root: ChainExcludeGroup, Leaf: when(match{}, iptables.Return, RoleExcludedGroup), Branch: RoleExcludeGroupTree,
			Rest: when(match{}, iptables.Goto{Chain: ChainOutputGroup}, RoleNotExcludedGroup),
		}
		t.Chains = append(t.Chains, tree.Chains(c.excludedGroups)...)
	}
	if c.ManyOwnerGroups() || c.groupTree {
		t.chain(ChainOutputGroup, appendFromApp(nil, c)...)
	}
	t.Chains = append(t.Chains, prefixChains(c)...)
	if dns := dnsQueries(c); len(dns) > 0 {
		t.chain(ChainOutputDNS, dns...)
	}
	t.chain(ChainRedirect, when(tcp, iptables.Redirect{Port: c.ProxyPort}, RoleToOutbound))
	return iptables.Table(t)
}

// redirectsInbound reports whether connections into the pod are redirected; in
// mode TProxy they are captured elsewhere.
func (c Config) redirectsInbound() bool { return c.Mode == Redirect && !c.InboundPorts.Empty() }

// ProxiesInbound reports whether connections into the pod are captured by TPROXY,
// which needs policy routing besides rules.
func (c Config) ProxiesInbound() bool { return c.Mode == TProxy && !c.InboundPorts.Empty() }

// outputHook is what enters ISTIO_OUTPUT: everything, since DNS over UDP shares
// the chain; TCP alone in the older generations.
func outputHook(c familyConfig) match {
	if c.Generation == Current || c.DNS.Captures() {
		return match{}
	}
	return tcp
}

// mangleTable marks: what TPROXY captures, and what conntrack calls invalid.
func mangleTable(c familyConfig) iptables.Table {
	t := table{Name: iptables.Mangle}
	var prerouting []rule
	if c.DropInvalid {
		prerouting = append(prerouting, when(match{State: iptables.Is(iptables.Invalid)}, jump(ChainDrop), RoleInvalid))
	}
	if !c.ProxiesInbound() {
		t.chain(iptables.Prerouting, prerouting...)
	} else {
		t.chain(iptables.Prerouting, append(prerouting, when(tcp, jump(ChainInbound), RoleInboundHook))...)
		t.chain(iptables.Output, when(tcp, jump(ChainOutput), RoleOutboundHook))
		t.chain(ChainInbound, tproxyInbound(c)...)
		t.chain(ChainDivert, divert(c)...)
		t.chain(ChainTProxy, tproxy(c)...)
		t.chain(ChainOutput, tproxyOutput(c)...)
	}
	if c.DropInvalid {
		t.chain(ChainDrop, drop(c)...)
	}
	return iptables.Table(t)
}

// drop are the rules for packets in state INVALID: the kernel would
// answer them with a reset that kills a healthy one. In mode TProxy, as in
// Istio, packets through excluded interfaces are not dropped.
func drop(c familyConfig) []rule {
	var rules []rule
	if c.Mode == TProxy {
		rules = leaveIn(c.ExcludeInterfaces, RoleExcludedInterface)
	}
	return append(rules, when(match{}, iptables.Drop, RoleInvalid))
}

// leaveIn and leaveOut are the rules that leave traffic by some interfaces alone. They
// return to the built-in chain, so that foreign rules behind ours see that traffic as
// without a mesh: docker and KubeVirt may add theirs later.
func leaveIn(interfaces []iptables.Interface, why iptables.Role) []rule {
	var rules []rule
	for _, in := range interfaces {
		rules = append(rules, when(match{In: iptables.Is(in)}, iptables.Return, why))
	}
	return rules
}

func leaveOut(interfaces []iptables.Interface) []rule {
	var rules []rule
	for _, out := range interfaces {
		rules = append(rules, when(match{Out: iptables.Is(out)}, iptables.Return, RoleExcludedInterface))
	}
	return rules
}
