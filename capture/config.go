package capture

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Mode says how inbound connections reach the proxy.
type Mode uint8

// The modes. The zero value is Redirect, as it is for Istio.
const (
	Redirect Mode = iota // the kernel rewrites the destination; the proxy asks for the original one
	TProxy               // the proxy's socket takes the packet as it is, and sees the client's address
	None                 // nothing is captured, in or out
)

// ModeNames are Istio's names of the modes, in their order.
var ModeNames = [...]string{"REDIRECT", "TPROXY", "NONE"}

// String returns Istio's name of the mode.
func (m Mode) String() string { return ModeNames[m] }

// MarshalText returns Istio's name of the mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes Istio's names in any case; "" is REDIRECT.
func (m *Mode) UnmarshalText(text []byte) error {
	i := slices.Index(ModeNames[:], strings.ToUpper(string(text)))
	if i < 0 && len(text) > 0 {
		return errors.New("is not a mode")
	}
	*m = Mode(max(i, 0))
	return nil
}

// A Selector selects all or a list, minus exclusions. The zero Selector selects none.
type Selector[T any] struct {
	All          bool
	Only, Except []T
}

// Empty reports whether nothing is selected.
func (s Selector[T]) Empty() bool { return !s.All && len(s.Only) == 0 }

// A Config is what to intercept, in types. The zero Config is not valid: the
// ports and the proxy's ids have no meaningful zero.
type Config struct {
	Mode       Mode
	Generation Generation

	ProxyPort   uint16 // where outbound connections are sent
	InboundPort uint16 // where inbound connections are sent
	TunnelPort  uint16 // of HBONE: inbound as it is, never redirected

	ProxyUIDs []iptables.IDRange // whose traffic is the proxy's own; at least one
	ProxyGIDs []iptables.IDRange // as ProxyUIDs

	InboundPorts Selector[iptables.PortRange] // which ports of the pod are captured; Except counts only with All

	OutboundPrefixes     Selector[netip.Prefix] // which destinations are captured, of both families
	OutboundPorts        []iptables.PortRange   // captured whatever the prefix, unless that is excepted
	OutboundExcludePorts []iptables.PortRange   // never captured, TCP and UDP, whoever calls

	OwnerGroups Selector[iptables.IDRange] // groups whose processes are captured

	ExcludeInterfaces []iptables.Interface // traffic through these is not captured, in either direction
	VirtualInterfaces []iptables.Interface // inbound packets of these are outbound connections of virtual machines

	LoopbackV4  netip.Prefix // what counts as this machine in IPv4; zero: 127.0.0.1/32
	DropInvalid bool         // drop what conntrack calls invalid

	DNS DNS

	TProxyMark  uint32 // of captured packets; counts only in mode TProxy
	TProxyTable uint32 // routing table that delivers them here; likewise
}

// DNS says which DNS queries of the pod are captured. The zero value: none.
type DNS struct {
	All     bool         // whatever the server
	Servers []netip.Addr // to these, of both families
}

// Captures reports whether any DNS query is captured.
func (d DNS) Captures() bool { return d.All || len(d.Servers) > 0 }

// Validate tells all that is wrong with a config, joined.
func (c Config) Validate() error {
	var errs []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.ProxyPort == 0, "the proxy's outbound port is 0")
	check(c.InboundPort == 0, "the proxy's inbound port is 0")
	check(c.TunnelPort == 0, "the proxy's tunnel port is 0")
	check(len(c.ProxyUIDs) == 0, "the proxy has no user id")
	check(len(c.ProxyGIDs) == 0, "the proxy has no group id")
	check(len(c.OwnerGroups.Only) > MaxOwnerGroups, "more than %d captured owner groups", MaxOwnerGroups)
	check(c.LoopbackV4.IsValid() && (!c.LoopbackV4.Addr().Is4() || !c.LoopbackV4.Addr().IsLoopback() || c.LoopbackV4.Bits() < 8),
		"%s is not a part of 127.0.0.0/8", c.LoopbackV4)
	check(int(c.Generation) >= len(GenerationNames), "generation %d does not exist", c.Generation)
	check(int(c.Mode) >= len(ModeNames), "mode %d does not exist", c.Mode)
	if c.Mode == TProxy {
		check(c.TProxyMark == 0, "the mark of captured packets is 0, which every packet has")
		check(c.TProxyMark == SelfCallMark, "the mark of captured packets is %d, which marks the proxy's own calls", SelfCallMark)
		check(c.TProxyTable == 0, "the routing table of captured packets is 0")
		check(c.Generation == Istio1_0, "the TPROXY rules of Istio 1.0 are not known")
	}
	return errors.Join(errs...)
}

// loopback is what counts as this machine: calls to it are local.
func (c Config) loopback(f inet.Family) netip.Prefix {
	if f == inet.IPv4 && c.LoopbackV4.IsValid() {
		return c.LoopbackV4
	}
	return host(f.Localhost())
}

// ofFamily returns the prefixes of one family, in their order.
func ofFamily(list []netip.Prefix, f inet.Family) []netip.Prefix {
	other := func(p netip.Prefix) bool { return !f.Has(p.Addr()) }
	if !slices.ContainsFunc(list, other) {
		return slices.Clip(list)
	}
	return slices.DeleteFunc(slices.Clone(list), other)
}
