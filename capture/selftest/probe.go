package selftest

import (
	"fmt"
	"net/netip"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A Site is what has to be known of the namespace to plan for one family.
type Site struct {
	Addr   netip.Addr                             // by which others reach the pod; not valid: none
	PathTo func(netip.Addr) (netutil.Path, error) // the way to an address; an error: there is none
	Powers netutil.Powers                         // what can be done with sockets
}

// A Probe is one connection and where it must land.
type Probe struct {
	Family inet.Family
	Name   string // in words: who connects to what
	Who    iptables.Owner
	From   netip.Addr // source; not valid: the kernel's choice
	To     netip.AddrPort
	Proto  iptables.Proto
	Mark   uint32 // of its packets; zero: none

	Lands  Landing
	Rule   string // the rules that decide, each with its table and chain; "": none does
	Hint   string // what else is likely wrong when it fails
	OneWay bool   // its answer cannot find the way back, arriving is enough

	Lack string // why it cannot be made here; "": it can
}

// A Landing is where a connection comes to. The zero value: it is left alone and
// comes to its own destination in the pod.
type Landing struct {
	Port   uint16 // of the proxy or the agent; zero: it is left alone
	TProxy bool   // its destination is not rewritten
	Away   bool   // it is left alone and leaves the pod
}

// String returns the landing in words.
func (l Landing) String() string {
	switch {
	case l.TProxy:
		return fmt.Sprintf("port %d, by TPROXY", l.Port)
	case l.Port != 0:
		return fmt.Sprintf("port %d", l.Port)
	case l.Away:
		return "left alone, out of the pod"
	}
	return "left alone"
}

// Connection returns what is connected, as in "1000:1000 -> udp 192.0.2.1:53"; ""
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

// foreign tells that the source address is not the pod's.
func (p Probe) foreign() bool { return p.From.IsValid() && p.Mark != 0 }

// A Listener is where connections are taken: a port of the proxy, or the end of
// connections in the pod that are left alone.
type Listener struct {
	Proto       iptables.Proto
	At          netip.AddrPort
	Who         iptables.Owner
	Proxy       bool
	Transparent bool // takes connections whatever their destination
}

// A Plan is what is connected and listened on in one family. The zero value is
// nothing.
type Plan struct {
	Family    inet.Family
	Self      iptables.Owner // who makes the control connections
	Listeners []Listener
	Probes    []Probe
}

// An Outcome is what became of a probe.
type Outcome uint8

// The outcomes. The zero value claims nothing.
const (
	NotChecked Outcome = iota
	Passed
	Failed
)

var outcomeNames = [...]string{"not checked", "passed", "failed"}

// String returns the outcome in words.
func (o Outcome) String() string { return outcomeNames[o] }

// A Result is a probe and what became of it.
type Result struct {
	Probe
	Outcome Outcome
	Saw     string // what was seen instead, when it failed
	Why     string // the likely cause when it failed, the reason when it was not checked
}
