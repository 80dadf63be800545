package capture

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
	"istio-init/test/size"
)

// TestRulesTellTheConfigurationTheyComeFrom: the rules of a random config are read,
// each has its reason, and what was read makes the same rules again.
func TestRulesTellTheConfigurationTheyComeFrom(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 20))
	configs := size.Of(200, 1000, 4000)
	for n := range configs {
		c := randomConfig(rng, n%2 == 0)
		c = withoutRepeats(c)
		var readings []*Reading
		for _, f := range inet.Families {
			readings = append(readings, Read(Rules(c, f)))
		}
		got := Configuration(readings...)
		for _, f := range inet.Families {
			rs := Rules(c, f)
			if diff := cmp.Diff(rs.String(), Rules(got, f).String()); diff != "" {
				t.Fatalf("config %d %+v\nwas read as %+v\nwhich makes (-of the config +of what was read):\n%s", n, c, got, diff)
			}
			everyRuleHasItsReason(t, c, readings[f])
		}
	}
}

// withoutRepeats is the config as the command line has it, which keeps what is
// repeated once.
func withoutRepeats(c Config) Config {
	c.InboundPorts.Only, c.InboundPorts.Except = once(c.InboundPorts.Only), once(c.InboundPorts.Except)
	c.OutboundPrefixes.Only, c.OutboundPrefixes.Except = once(c.OutboundPrefixes.Only), once(c.OutboundPrefixes.Except)
	c.OutboundPorts, c.OutboundExcludePorts = once(c.OutboundPorts), once(c.OutboundExcludePorts)
	c.OwnerGroups.Only, c.OwnerGroups.Except = once(c.OwnerGroups.Only), once(c.OwnerGroups.Except)
	c.ExcludeInterfaces, c.VirtualInterfaces = once(c.ExcludeInterfaces), once(c.VirtualInterfaces)
	c.ProxyUIDs, c.ProxyGIDs, c.DNS.Servers = once(c.ProxyUIDs), once(c.ProxyGIDs), once(c.DNS.Servers)
	return c
}

func once[T comparable](list []T) []T {
	var out []T
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
