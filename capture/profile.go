package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

// This file holds what Istio's sidecar, its injector and its tools agree on: each
// name and number once.

// Istio's chains, by the names that its tools and its users look for.
const (
	ChainInbound    = "ISTIO_INBOUND"
	ChainInRedirect = "ISTIO_IN_REDIRECT"
	ChainOutput     = "ISTIO_OUTPUT"
	ChainRedirect   = "ISTIO_REDIRECT"
	ChainOutputDNS  = "ISTIO_OUTPUT_DNS"
	ChainDivert     = "ISTIO_DIVERT"
	ChainTProxy     = "ISTIO_TPROXY"
	ChainDrop       = "ISTIO_DROP"
)

// Chains of our own, for long lists.
const (
	ChainExcludeGroup = "ISTIO_EXCLUDE_GROUP" // of owner groups; its branches are numbered
	ChainOutputGroup  = "ISTIO_OUTPUT_GROUP"  // what follows owner groups
	ChainExclude      = "ISTIO_EXCLUDE"       // of destinations; its branches are numbered
	ChainOutputApp    = "ISTIO_OUTPUT_APP"    // what follows them
	ChainInclude      = "ISTIO_INCLUDE"       // of destinations; its branches are numbered
)

// ownChains are all chains that are ours: Istio's eight of a sidecar, and our own.
var ownChains = []string{
	ChainInbound, ChainInRedirect, ChainOutput, ChainRedirect, ChainOutputDNS, ChainDivert, ChainTProxy, ChainDrop,
	ChainExcludeGroup, ChainOutputGroup, ChainExclude, ChainOutputApp, ChainInclude,
}

// Owns reports whether a chain of that name is ours. It is a closed list, with the numbered
// branches of long lists: other chains whose names begin alike are Istio's ambient mode's.
func Owns(chain string) bool { return slices.Contains(ownChains, ListChain(chain)) }

// ListChain returns the name of a chain without the number of a branch of a long list.
func ListChain(chain string) string {
	for _, list := range []string{ChainExclude, ChainInclude, ChainExcludeGroup} {
		if number, ok := strings.CutPrefix(chain, list+"_"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
			return list
		}
	}
	return chain
}

// NativeTablePrefix starts the names of the nf_tables tables that Istio makes with
// --native-nftables. They are of the family inet.
const NativeTablePrefix = "istio-proxy-"

// Defaults of Istio's options.
const (
	DefaultProxyPort   = 15001 // of the proxy, for outbound connections
	DefaultInboundPort = 15006 // of the proxy, for inbound connections
	DefaultTunnelPort  = 15008 // of the proxy, for HBONE
	DefaultProbePort   = 15002 // of the validation
	DefaultProxyUser   = "istio-proxy"
	DefaultProxyID     = 1337 // of the user and the group of the proxy
	DefaultTProxyMark  = 1337
	DefaultTProxyTable = 133
)

// Ports of DNS capture: where DNS queries go, and where the agent takes them, on
// localhost.
const (
	DNSPort      = 53
	DNSProxyPort = 15053
)

// SSHPort is excluded by the generation 1.0, whatever was asked for.
const SSHPort = 22

// proxyZone is the conntrack zone of the proxy's DNS queries. Istio has it for both
// directions, and zone 2 for the app's.
const proxyZone = 1

// SelfCallMark marks the proxy's calls to its own pod in mode TProxy, so that they
// are captured on their way in. It does not follow the mark of captured packets.
const SelfCallMark = 1338

// MaxOwnerGroups is how many groups can be captured. Istio has the limit, because one rule
// has to name all.
const MaxOwnerGroups = 64

// Passthrough returns the source address of the proxy's inbound connections to the
// app, 127.0.0.6 or ::6. Unlike the first, the second belongs to no loopback prefix,
// so the loopback interface has to be given it.
func Passthrough(f inet.Family) netip.Addr {
	if f == inet.IPv6 {
		return netip.AddrFrom16([16]byte{15: 6})
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 6})
}

// A Generation is the Istio release whose rules are wanted, line for line. The
// zero value is the current one.
type Generation uint8

// The generations, newest first.
const (
	Current Generation = iota
	Istio1_15
	Istio1_0
)

// GenerationNames are the names of the generations, in their order.
var GenerationNames = [...]string{"current", "1.15", "1.0"}

// String returns the form that UnmarshalText takes.
func (g Generation) String() string { return GenerationNames[g] }

// MarshalText returns the form that UnmarshalText takes.
func (g Generation) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText takes one of [GenerationNames].
func (g *Generation) UnmarshalText(text []byte) error {
	i := slices.Index(GenerationNames[:], string(text))
	if i < 0 {
		last := len(GenerationNames) - 1
		return fmt.Errorf("is not %s or %s", strings.Join(GenerationNames[:last], ", "), GenerationNames[last])
	}
	*g = Generation(i)
	return nil
}
