package picture

import (
	"slices"

	"istio-init/capture/path"
	"istio-init/iptables"
)

// A pass is a hook, or a part of its tables. Packets meet the tables in their order.
type pass struct {
	hook     string
	afterNAT bool // of OUTPUT: the tables after nat, else those before and nat
	source   node // where the packets come from
	end      node // where those go that no rule redirects or drops
}

// passes are all of them. Rules redirect only in the first two.
var passes = []pass{
	{hook: iptables.Prerouting, source: node{title: "peers"}, end: node{title: "socket of the pod", detail: "at that port, or forwarded"}},
	{hook: iptables.Output, source: node{title: "app, proxy", detail: "their connections"}, end: node{title: "destination", detail: "not redirected"}},
	{hook: iptables.Output, afterNAT: true, source: node{title: "OUTPUT", detail: "after nat"}, end: node{title: "sent"}},
	{hook: input, source: node{title: "INPUT", detail: "to a socket of the pod"}, end: node{title: "received"}},
	{hook: forward, source: node{title: "FORWARD"}, end: node{title: "forwarded"}},
	{hook: postrouting, source: node{title: "POSTROUTING"}, end: node{title: "sent"}},
}

// tables returns the tables of a pass.
func (p *pass) tables() []string {
	all := iptables.TablesAt(p.hook)
	after := slices.Index(all, iptables.NAT) + 1
	switch {
	case p.afterNAT:
		return all[after:]
	case p.hook == iptables.Output:
		return all[:after]
	}
	return all
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

// captures reports whether rules redirect in the pass.
func (p *pass) captures() bool {
	return (p.hook == iptables.Prerouting || p.hook == iptables.Output) && !p.afterNAT
}

// never reports whether a rule matches an interface that packets do not have at the hook.
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
