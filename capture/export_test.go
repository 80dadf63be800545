package capture

import (
	"net/netip"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

func PrefixChains(c Config, f inet.Family) []iptables.Chain { return prefixChains(c.of(f)) }
func Loopback(c Config, f inet.Family) netip.Prefix         { return c.loopback(f) }
