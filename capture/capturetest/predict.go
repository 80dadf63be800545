package capturetest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// A Config is what a pod needs to know of a configuration to be built for it.
type Config struct {
	capture.Config
	Captured []iptables.Family
}

// Proxy returns who the proxy is: the first of its ids; in mode TPROXY it is
// root with that group, as Istio deploys it.
func (c Config) Proxy() Identity {
	proxy := Identity{c.ProxyUIDs[0].Lo, c.ProxyGIDs[0].Lo}
	if c.Mode == capture.TProxy {
		proxy.UID = 0
	}
	return proxy
}

// Rules returns the rules of a family; none when it is not captured.
func (c Config) Rules(f iptables.Family) iptables.Ruleset {
	if !slices.Contains(c.Captured, f) {
		return iptables.Ruleset{Family: f}
	}
	return capture.Rules(c.Config, f)
}

// A Prediction is the outcome of a flow by the typed rules, and why.
type Prediction struct {
	Outcome string
	Steps   []iptables.Step
}

// String lists the rules that took the packet.
func (p Prediction) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, by", p.Outcome)
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "\n  %s %s rule %d: %s", s.Table, s.Chain, s.Index+1, s.Rule.Text(iptables.IPv4))
	}
	return b.String()
}

// Predict walks the first packet of a flow through the rules of a configuration.
func Predict(c Config, f Flow, family iptables.Family) Prediction {
	return PredictBy(c, c.Rules(family), f)
}

// PredictBy walks the first packet of a flow through rules, in their family,
// which need not be those of the configuration.
func PredictBy(c Config, rules iptables.Ruleset, f Flow) Prediction {
	family := rules.Family
	dst := f.Dst(family)
	p := iptables.Packet{
		Proto: f.Proto, SYN: f.Proto == iptables.TCP, State: iptables.New,
		Dst: netip.AddrPortFrom(dst, f.Port),
	}
	if f.Stray {
		p.SYN, p.State = false, iptables.Invalid
	}
	port := cmp.Or(f.From.Port(), 40000)
	var w iptables.Walk
	if who, inside := f.identity(c.Proxy()); inside {
		p.Owner = &iptables.Owner{UID: who.UID, GID: who.GID}
		p.Out = route(dst)
		p.Src = netip.AddrPortFrom(source(f, family, dst, p.Out), port)
		w = rules.TraceSent(p)
	} else {
		from := hosts[f.Who][family]
		p.Hook, p.In = iptables.Prerouting, route(from)
		p.Src = netip.AddrPortFrom(from, port)
		w = rules.Trace(p)
	}
	return Prediction{c.outcome(f, w.Packet, w.Verdict == iptables.Accept), w.Steps}
}

// outcome is where the flow of a packet ends that came through all hooks, or not.
func (c Config) outcome(f Flow, p iptables.Packet, passes bool) string {
	switch {
	case !passes:
		return "timeout"
	case f.Stray:
		return "refused" // whoever gets it has no connection that it fits
	case p.TProxiedTo != 0:
		return fmt.Sprintf("proxy %d", p.TProxiedTo)
	case p.RedirectedTo != 0:
		return fmt.Sprintf("proxy %d", p.RedirectedTo)
	case f.Proto == iptables.TCP && c.listens(p.Dst):
		return fmt.Sprintf("proxy %d", f.Port) // it went there by itself
	}
	return "direct"
}

// listens tells whether the proxy has a TCP socket there.
func (c Config) listens(at netip.AddrPort) bool {
	switch at.Port() {
	case c.ProxyPort, c.InboundPort:
		return route(at.Addr()) == "lo"
	case agentPort:
		return c.DNS.Captures() && at.Addr().IsLoopback()
	}
	return false
}

// route returns the interface of the pod by which a destination is reached.
func route(dst netip.Addr) string {
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

// source returns the source address that the kernel picks, or the one asked for.
func source(f Flow, family iptables.Family, dst netip.Addr, device string) netip.Addr {
	switch {
	case f.From.Addr().IsValid():
		return f.From.Addr()
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
