package capture

import (
	"net/netip"
	"slices"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A familyConfig is a Config whose lists are divided: what its rules of one family need.
type familyConfig struct {
	Config
	family           inet.Family
	include, exclude prefixList // of OutboundPrefixes
	excludedGroups   []iptables.IDRange
	groupTree        bool                          // the rules of excludedGroups are a tree of chains
	servers          []iptables.Cond[netip.Prefix] // of DNS: one without a condition for all servers
	istio            bool                          // see IstioRules
	lists            bool                          // see ListRules
}

// A prefixList is a list of destinations, and whether its rules are a tree of chains.
type prefixList struct {
	prefixes []netip.Prefix
	tree     bool
}

// of divides the lists of a config by family.
func (c Config) of(f inet.Family) familyConfig {
	fc := familyConfig{Config: c, family: f, include: c.prefixList(c.OutboundPrefixes.Only, f), exclude: c.prefixList(c.OutboundPrefixes.Except, f)}
	if c.OwnerGroups.All {
		fc.excludedGroups = c.OwnerGroups.Except
		if c.Generation == Current {
			fc.excludedGroups, fc.groupTree = iptables.LowerGroups(fc.excludedGroups)
		}
	}
	fc.include.tree = fc.include.tree && !c.OutboundPrefixes.All
	if c.DNS.All {
		fc.servers = []iptables.Cond[netip.Prefix]{{}}
		return fc
	}
	for _, server := range c.DNS.Servers {
		if f.Has(server) {
			fc.servers = append(fc.servers, iptables.Is(host(server)))
		}
	}
	return fc
}

// withLists is of for rules whose lists are not divided. They are in ascending order, as sets
// are.
func (c Config) withLists(f inet.Family) familyConfig {
	c.OwnerGroups.Only = iptables.MergeGroups(c.OwnerGroups.Only)
	fc := c.of(f)
	fc.lists = true
	fc.include = prefixList{prefixes: iptables.MergePrefixes(ofFamily(c.OutboundPrefixes.Only, f))}
	fc.exclude = prefixList{prefixes: iptables.MergePrefixes(ofFamily(c.OutboundPrefixes.Except, f))}
	if fc.groupTree = false; c.OwnerGroups.All {
		fc.excludedGroups = iptables.MergeGroups(c.OwnerGroups.Except)
	}
	return fc
}

// prefixList returns the prefixes of one family; in the older generations as they are.
func (c Config) prefixList(list []netip.Prefix, f inet.Family) prefixList {
	prefixes := ofFamily(list, f)
	if c.Generation != Current {
		return prefixList{prefixes: prefixes}
	}
	prefixes, tree := iptables.LowerPrefixes(prefixes)
	return prefixList{prefixes, tree}
}

// portMatches returns the matches of packets to one of the ports; in the older generations
// one for each element.
func (c familyConfig) portMatches(ports []iptables.PortRange) []match {
	if c.lists {
		if ports = iptables.MergePorts(ports); len(ports) > 1 {
			return []match{{DPorts: iptables.Is(ports)}}
		}
	}
	if c.Generation != Current {
		return iptables.EachPort(ports)
	}
	return iptables.LowerPorts(ports)
}

// loopback returns the addresses that are local calls.
func (c familyConfig) loopback() netip.Prefix { return c.Config.loopback(c.family) }

// includesLoopback reports whether a prefix of the list is of the loopback interface, in any
// family: Istio then captures calls from the app to itself in both. One that is part of another
// of the list counts too.
func (c familyConfig) includesLoopback() bool {
	return slices.ContainsFunc(c.OutboundPrefixes.Only, func(p netip.Prefix) bool { return p.Addr().IsLoopback() })
}
