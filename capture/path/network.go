package path

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Network is what decides about connections in a network namespace besides the rules
// of iptables.
type Network struct {
	Proxy iptables.Owner // as whom the proxy connects
	// Route answers as the routing of the kernel does.
	Route func(RouteQuery) Route
	// Own reports whether an address is the namespace's own; nil: one that is routed to lo.
	Own func(netip.Addr) bool
	// Assumed says that the answers of Route are a guess that knows no policy rules.
	Assumed bool
	// HasAddress reports whether an interface has an address of a family that REDIRECT sends
	// connections to which come in by it; nil: each has.
	HasAddress func(device string, f inet.Family) bool
	// BaseChains are those of the nftables tables that iptables does not print.
	BaseChains []BaseChain
	// Obstacles are the sysctls by which packets of mode TPROXY are lost.
	Obstacles []capture.Obstacle
}

// A RouteQuery is what the kernel chooses a route by. Without In it is one for a packet
// that a socket of the namespace sends.
type RouteQuery struct {
	Proto    iptables.Proto
	Src, Dst netip.AddrPort // Src: zero where the socket is not bound
	Mark     uint32
	UID      uint32 // of the socket
	In       string // the interface by which the packet came
	Out      string // the interface to which the socket is bound
}

// A Route is the kernel's answer to a RouteQuery.
type Route struct {
	Device  string     // by which the packet leaves; "lo" for what is the namespace's own
	Src     netip.Addr // the source address that the kernel picks
	Failure RouteFailure
}

// A RouteFailure is why there is no route. The zero value: there is one.
type RouteFailure uint8

// The failures (ip-route(8), the types of routes).
const (
	Routed      RouteFailure = iota
	Unrouted                 // no route
	Unreachable              // a route of type unreachable, or no forwarding
	Blackhole                // a route of type blackhole, or a source address that is not valid
	Prohibited               // a route of type prohibit
	Rejected                 // the source address is not one of that interface (rp_filter)
)

// A BaseChain is a chain of nftables that a hook calls.
type BaseChain struct {
	Family   string // of its table: ip, ip6, inet, arp, bridge or netdev
	Table    string
	Name     string
	Type     string // filter, nat or route
	Hook     string // as nft names it: prerouting, input, forward, output, postrouting, ingress or egress
	Priority int
	Drops    bool // its policy is drop
	HasRules bool
	// Devices are those whose packets pass a chain at ingress or egress; the bridges, for the
	// family bridge.
	Devices []string
}

// String names the chain as nft does.
func (c BaseChain) String() string {
	return fmt.Sprintf("nft table %s %s, chain %s, hook %s, priority %d", c.Family, c.Table, c.Name, c.Hook, c.Priority)
}

// mayDecide reports whether the chain could decide about a packet at a hook of iptables,
// at which the packet passes an interface. At the hook at which a packet comes in, that is
// a chain at ingress too, and at the one at which it leaves, one at egress.
func (c BaseChain) mayDecide(p iptables.Packet, f inet.Family) bool {
	if !c.HasRules && !c.Drops || c.Type == "nat" && !p.SeesNAT() {
		return false
	}
	at, device := strings.ToLower(p.Hook), p.In
	if p.Hook == iptables.Output || p.Hook == iptables.Postrouting {
		device = p.Out
	}
	edge := p.Hook == iptables.Prerouting && c.Hook == "ingress" || p.Hook == iptables.Postrouting && c.Hook == "egress"
	switch c.Family {
	case "ip", "ip6":
		return c.Hook == at && c.Family == [...]string{"ip", "ip6"}[f]
	case "inet":
		return c.Hook == at || edge && slices.Contains(c.Devices, device)
	case "netdev":
		return edge && slices.Contains(c.Devices, device)
	case "bridge":
		return c.Hook == at && slices.Contains(c.Devices, device)
	case "arp": // without the address of its neighbour no packet leaves
		return f == inet.IPv4 && device != "lo" && (p.Hook == iptables.Prerouting || p.Hook == iptables.Postrouting)
	}
	return false
}
