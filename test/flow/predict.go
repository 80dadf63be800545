package flow

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Config has the parts of a configuration that a pod is built for.
type Config struct {
	capture.Config
	Captured []inet.Family
}

// ApplyDefaults sets missing ports and ids of the proxy to Istio's defaults.
func (c *Config) ApplyDefaults() {
	c.ProxyPort = cmp.Or(c.ProxyPort, 15001)
	c.InboundPort = cmp.Or(c.InboundPort, 15006)
	for _, ids := range []*[]iptables.IDRange{&c.ProxyUIDs, &c.ProxyGIDs} {
		if len(*ids) == 0 {
			*ids = []iptables.IDRange{iptables.ID(1337)}
		}
	}
}

// Proxy returns the user and group of the proxy: the first of its ids; in mode TPROXY root
// with that group, as Istio deploys it.
func (c Config) Proxy() Identity {
	proxy := Identity{c.ProxyUIDs[0].Lo, c.ProxyGIDs[0].Lo}
	if c.Mode == capture.TProxy {
		proxy.UID = 0
	}
	return proxy
}

// Rules returns the rules of a family; none if it is not captured.
func (c Config) Rules(f inet.Family) iptables.Ruleset {
	if !slices.Contains(c.Captured, f) {
		return iptables.Ruleset{Family: f}
	}
	return capture.Rules(c.Config, f)
}

// A Prediction is the outcome of a flow by the typed rules, with the reasons.
type Prediction struct {
	Outcome string
	Leg     path.Hop // the connection of the flow itself
}

// String lists the rules that took the packet.
func (p Prediction) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, by", p.Outcome)
	for _, stage := range p.Leg.Hooks {
		for _, s := range stage.Steps {
			fmt.Fprintf(&b, "\n  %s %s %s rule %d: %s", stage.Hook, s.Table, s.Chain, s.Index+1, s.Rule.Text(inet.IPv4))
		}
	}
	return b.String()
}

// Predict evaluates the first packet of a flow with the rules of a configuration.
func Predict(c Config, f Flow, family inet.Family) Prediction {
	return PredictBy(c, c.Rules(family), f)
}

// PredictBy evaluates the first packet of a flow with the given rules, in their family.
func PredictBy(c Config, rules iptables.Ruleset, f Flow) Prediction {
	leg := path.Follow(infer.Infer(rules), c.Config, c.site(), f.Connection(c, rules.Family))[0]
	return Prediction{f.OutcomeAt(leg.Outcome.String(), leg.Port), leg}
}

// site is the pod of the network.
func (c Config) site() path.Network {
	proxy := c.Proxy()
	return path.Network{
		Proxy: iptables.Owner{UID: proxy.UID, GID: proxy.GID},
		Route: func(q path.RouteQuery) path.Route {
			dst := q.Dst.Addr()
			device := Device(dst)
			if c.Mode == capture.TProxy && q.Mark == c.TProxyMark { // by the policy rule of that mode
				device = "lo"
			}
			return path.Route{Device: device, Src: source(dst, device)}
		},
	}
}

// Connection returns a flow as the connection that the rules see.
func (f Flow) Connection(c Config, family inet.Family) path.Connection {
	to := path.Connection{Proto: f.Proto, Src: f.From, Dst: netip.AddrPortFrom(f.Dst(family), f.Port)}
	if f.Stray {
		to.State = iptables.Invalid
	}
	if who, inside := f.Identity(c.Proxy()); inside {
		to.Owner = &iptables.Owner{UID: who.UID, GID: who.GID}
		return to
	}
	from := hosts[f.Who][family]
	to.Src, to.In = netip.AddrPortFrom(from, 0), Device(from)
	return to
}

// OutcomeAt says in the words of a flow where its connection lands, from the name
// of the landing and the port of the proxy there.
func (f Flow) OutcomeAt(landing string, port uint16) string {
	switch {
	case landing == path.Dropped.String():
		return "timeout"
	case f.Stray:
		return "refused" // the receiver has no connection for it
	case landing == path.Direct.String():
		return "direct"
	}
	return fmt.Sprintf("proxy %d", port)
}

// Device returns the interface of the pod for a destination.
func Device(dst netip.Addr) string {
	for _, local := range []string{"pod", "pod2"} {
		if slices.Contains(asSlice(hosts[local]), dst) {
			return "lo"
		}
	}
	switch {
	case dst.IsLoopback():
		return "lo"
	case slices.Contains(asSlice(hosts["vm"]), dst):
		return "eth1"
	}
	return "eth0"
}

// source returns the source address that the kernel chooses.
func source(dst netip.Addr, device string) netip.Addr {
	family := inet.IPv4
	if dst.Is6() {
		family = inet.IPv6
	}
	switch {
	case dst.IsLoopback():
		return family.Localhost()
	case device == "lo":
		return dst
	case device == "eth1":
		return hosts["pod2"][family]
	}
	return hosts["pod"][family]
}

func asSlice(a [2]netip.Addr) []netip.Addr { return a[:] }
