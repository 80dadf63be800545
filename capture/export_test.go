package capture

import (
	"net/netip"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

const (
	MaxPrefixRules = maxPrefixRules
	MaxPortRules   = maxPortRules
	MaxBranches    = maxBranches
)

func PrefixChains(c Config, f inet.Family) []iptables.Chain { return prefixChains(c, f) }
func MergePrefixes(list []netip.Prefix) []netip.Prefix      { return mergePrefixes(list) }
func Merged(c Config, f inet.Family) Config                 { return c.merged(f) }
func Loopback(c Config, f inet.Family) netip.Prefix         { return c.loopback(f) }
