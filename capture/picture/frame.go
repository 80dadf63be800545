package picture

import (
	"istio-init/capture/path"
	"istio-init/iptables"
)

// A pass is a hook, or a part of its tables. Packets meet the tables in their order.
type pass struct {
	hook   string
	tables []string
	source node // where the packets come from
	end    node // where those go that no rule redirects or drops
}

// passes are all of them. Rules redirect only in the first two.
var passes = []pass{
	{
		iptables.Prerouting,
		[]string{iptables.Raw, iptables.Mangle, iptables.NAT},
		node{title: "peers"},
		node{title: "socket of the pod", detail: "at that port, or forwarded"},
	},
	{
		iptables.Output,
		[]string{iptables.Raw, iptables.Mangle, iptables.NAT},
		node{title: "app, proxy", detail: "their connections"},
		node{title: "destination", detail: "not redirected"},
	},
	{iptables.Output, []string{iptables.Filter, iptables.Security}, node{title: "OUTPUT", detail: "after nat"}, node{title: "sent"}},
	{input, []string{iptables.Mangle, iptables.Filter, iptables.Security, iptables.NAT}, node{title: "INPUT", detail: "to a socket of the pod"}, node{title: "received"}},
	{forward, []string{iptables.Mangle, iptables.Filter, iptables.Security}, node{title: "FORWARD"}, node{title: "forwarded"}},
	{postrouting, []string{iptables.Mangle, iptables.NAT}, node{title: "POSTROUTING"}, node{title: "sent"}},
}

// A device is what is known of the interface of a packet.
type device uint8

const (
	anyDevice device = iota
	onlyLo
	notLo
)

// A frame is what is known of packets that enter a chain, and where they go on after it.
type frame struct {
	pass    *pass
	proto   iptables.Proto // zero: any
	device  device
	lo      bool // a rule on the way asks for lo
	foreign bool // a foreign rule jumps here
	back    port // where they return to; zero: the end of the built-in chain
	drops   bool // the policy of the built-in chain is DROP
	next    port // the next table of the pass; zero: none
}

// captures tells whether rules redirect in the pass.
func (p *pass) captures() bool { return p.tables[0] == iptables.Raw }

// never tells whether a rule matches an interface that packets do not have at the hook.
func (p *pass) never(m iptables.Match) bool {
	switch p.hook {
	case iptables.Output, postrouting:
		return m.In.Set && !m.In.Neg
	case iptables.Prerouting, input:
		return m.Out.Set && !m.Out.Neg
	}
	return false
}

// narrowed returns the frame of packets that a rule takes; meets is false if it takes
// none.
func (f frame) narrowed(r viewRule) (_ frame, meets bool) {
	m := r.rule.Match
	if m.Proto != 0 {
		if f.proto != 0 && f.proto != m.Proto {
			return f, false
		}
		f.proto = m.Proto
	}
	if f.pass != nil && f.pass.never(m) {
		return f, false
	}
	for _, c := range []iptables.Cond[iptables.Interface]{m.In, m.Out} {
		switch {
		case !c.Set:
		case c.Val.Matches("lo") == c.Neg: // not by lo
			if f.device == onlyLo {
				return f, false
			}
			f.device = notLo
		case !c.Neg && c.Val == "lo":
			if f.device == notLo {
				return f, false
			}
			f.device, f.lo = onlyLo, true
		}
	}
	if m.Dst.Set && !m.Dst.Neg && m.Dst.Val.Addr().IsLoopback() && m.Dst.Val.Bits() >= 8 && f.device == anyDevice {
		f.device, f.lo = onlyLo, true
	}
	return f, true
}

// undecided returns the way of packets before a rule decides where they go.
func (f frame) undecided() way {
	switch {
	case f.foreign:
		return foreign
	case !f.pass.captures():
		return notCaptured
	case f.pass.hook == iptables.Output && f.lo:
		return ownPod
	case f.pass.hook == iptables.Output:
		return outbound
	}
	return inbound
}

// wayTo returns the way of packets to a landing.
func (f frame) wayTo(l path.Outcome) way {
	switch {
	case l == path.Dropped:
		return dropped
	case l == path.Outbound || l == path.DNS:
		return outbound
	case l == path.Inbound && f.pass.hook == iptables.Output:
		return ownPod
	case l == path.Inbound:
		return inbound
	case l == path.Direct && f.lo && f.pass.captures():
		return ownPod
	case l == path.Direct:
		return notCaptured
	}
	return foreign
}
