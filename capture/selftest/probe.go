package selftest

import (
	"fmt"
	"net/netip"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// An Environment is what has to be known of the namespace to plan for one family.
type Environment struct {
	Addr   netip.Addr                             // of the pod; not valid: none
	PathTo func(netip.Addr) (netutil.Path, error) // the route to an address; an error: there is none
	Powers netutil.Powers                         // the capabilities that sockets need
	Istio  bool                                   // the rules may be those that Istio's own tools make of the config
	// Lost are why connections from other machines are lost though the rules are right, and
	// Unknown is why that is not known.
	Lost    []string
	Unknown error
}

// A Probe is one connection and where it must arrive.
type Probe struct {
	Family inet.Family
	Name   string // for people: who connects to what
	Who    iptables.Owner
	From   netip.Addr // source; not valid: the kernel's choice
	To     netip.AddrPort
	Proto  iptables.Proto
	Mark   uint32 // of its packets; zero: none

	Want   Target
	Istio  []Target // where else Istio's own rules send it
	Rule   string   // the rules that decide, each with its table and chain; "": none
	Hint   string   // what else is probably wrong if it fails
	OneWay bool     // no answer comes back; to arrive is enough

	Skip string // why it cannot be made here; "": it can
	Lost bool   // it would fail, for the reason in Skip
}

// A Target is where a connection arrives. The zero value: it is not captured and
// arrives at its own destination in the pod.
type Target struct {
	Port   uint16 // of the proxy or the agent; zero: it is not captured
	TProxy bool   // its destination is not rewritten
	Away   bool   // it is not captured and leaves the pod
}

// String returns the target for people.
func (t Target) String() string {
	switch {
	case t.TProxy:
		return fmt.Sprintf("port %d, by TPROXY", t.Port)
	case t.Port != 0:
		return fmt.Sprintf("port %d", t.Port)
	case t.Away:
		return "not captured, leaves the pod"
	}
	return "not captured"
}

// Connection returns owner, addresses and protocol, as in "1000:1000 -> udp 192.0.2.1:53"; ""
// when the probe has none.
func (p Probe) Connection() string {
	if !p.To.IsValid() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%d", p.Who.UID, p.Who.GID)
	if p.From.IsValid() {
		fmt.Fprintf(&b, " from %s", p.From)
	}
	if p.Mark != 0 {
		fmt.Fprintf(&b, " with mark %#x", p.Mark)
	}
	fmt.Fprintf(&b, " -> %s %s", p.Proto, p.To)
	return b.String()
}

// foreign reports whether the source address is not the pod's.
func (p Probe) foreign() bool { return p.From.IsValid() && p.Mark != 0 }

// A Listener is a socket that accepts connections: at a port of the proxy, or at the
// destination of connections in the pod that are not captured.
type Listener struct {
	Proto       iptables.Proto
	At          netip.AddrPort
	Who         iptables.Owner
	Proxy       bool
	Transparent bool // accepts connections to every destination (IP_TRANSPARENT)
}

// A Plan is the connections and listeners of one family. The zero value has none.
type Plan struct {
	Family    inet.Family
	Self      iptables.Owner // who makes the control connections
	Listeners []Listener
	Probes    []Probe
}

// An Outcome is the outcome of a probe.
type Outcome uint8

// The outcomes. The zero value claims nothing.
const (
	NotChecked Outcome = iota
	Passed
	Failed
	Differs // arrived where Istio's own rules send it, and ours do not
)

var outcomeNames = [...]string{"not checked", "passed", "failed", "differs"}

// String returns the outcome for people.
func (o Outcome) String() string { return outcomeNames[o] }

// A Result is a probe and its outcome.
type Result struct {
	Probe
	Outcome Outcome
	Saw     string // what was observed instead, if it failed or differs
	Why     string // the probable cause if it failed, the reason if it was not checked
}
