package picture

import (
	"math/rand/v2"
	"net/netip"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A pool has the values of properties of packets that rules name, and some others.
type pool struct {
	family  inet.Family
	rules   []iptables.Rule
	addrs   []netip.Addr
	devices []string
	ports   []uint16
	ids     []uint32
	marks   []uint32
}

func newPool(rs iptables.Ruleset) *pool {
	p := &pool{family: rs.Family, devices: []string{"net0", "eth0", "lo"}, ports: []uint16{53, 80, 15053, 40000}, ids: []uint32{0, 1000, 1337}, marks: []uint32{0}}
	others := [2][]string{{"198.51.100.10", "203.0.113.7", "10.244.0.2", "127.0.0.1", "127.0.0.2"}, {"2001:db8:e::10", "2001:db9::7", "2001:db8:244::2", "::1"}}
	for _, a := range others[rs.Family] {
		p.addrs = append(p.addrs, netip.MustParseAddr(a))
	}
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				p.add(r)
			}
		}
	}
	p.addrs, p.devices, p.ports, p.ids, p.marks = distinct(p.addrs), distinct(p.devices), distinct(p.ports), distinct(p.ids), distinct(p.marks)
	return p
}

// distinct removes repetitions, so that each value is as likely as the others.
func distinct[T comparable](list []T) []T {
	var all []T
	seen := map[T]bool{}
	for _, v := range list {
		if !seen[v] {
			all = append(all, v)
		}
		seen[v] = true
	}
	return all
}

// add adds the values that a rule names.
func (p *pool) add(r iptables.Rule) {
	p.rules = append(p.rules, r)
	for _, c := range []iptables.Cond[netip.Prefix]{r.Src, r.Dst} {
		if c.Set && p.family.Has(c.Val.Addr()) {
			p.addrs = append(p.addrs, c.Val.Addr())
		}
	}
	for _, c := range []iptables.Cond[iptables.Interface]{r.In, r.Out} {
		if c.Set {
			p.devices = append(p.devices, device0(c.Val))
		}
	}
	for _, c := range []iptables.Cond[iptables.PortRange]{r.SPort, r.DPort} {
		if c.Set {
			p.ports = append(p.ports, c.Val.Lo)
		}
	}
	for _, v := range r.DPorts.Val {
		p.ports = append(p.ports, v.Lo)
	}
	for _, c := range r.UIDs {
		p.ids = append(p.ids, c.Val.Lo)
	}
	for _, c := range r.GIDs {
		p.ids = append(p.ids, c.Val.Lo)
	}
	for _, c := range []iptables.Cond[iptables.Mark]{r.Mark, r.ConnMark} {
		if c.Set {
			p.marks = append(p.marks, c.Val.Value)
		}
	}
}

// device0 is an interface that a pattern matches.
func device0(i iptables.Interface) string {
	if n := len(i); n > 0 && i[n-1] == '+' {
		return string(i[:n-1]) + "0"
	}
	return string(i)
}

func oneOf[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// packet returns a random packet at a hook, which mostly meets the conditions of
// some of the rules.
func (p *pool) packet(rng *rand.Rand, hook string) iptables.Packet {
	addr := func() netip.AddrPort { return netip.AddrPortFrom(oneOf(rng, p.addrs), oneOf(rng, p.ports)) }
	out := iptables.Packet{
		Proto: oneOf(rng, []iptables.Proto{iptables.TCP, iptables.TCP, iptables.UDP}), Src: addr(), Dst: addr(),
		State: oneOf(rng, []iptables.States{iptables.New, iptables.New, iptables.New, iptables.Established, iptables.Invalid}),
		Owner: &iptables.Owner{UID: oneOf(rng, p.ids), GID: oneOf(rng, p.ids)}, In: oneOf(rng, p.devices),
	}
	if rng.IntN(2) == 0 {
		out.Mark, out.ConnMark = oneOf(rng, p.marks), oneOf(rng, p.marks)
	}
	for rng.IntN(3) > 0 && len(p.rules) > 0 {
		meet(&out, oneOf(rng, p.rules).Match)
	}
	out.SYN = out.Proto == iptables.TCP && out.State&(iptables.New|iptables.Related) != 0
	return at(out, hook)
}

// meet changes a packet so that it meets the conditions of a rule that are not negated.
func meet(p *iptables.Packet, m iptables.Match) {
	if m.Proto != 0 {
		p.Proto = m.Proto
	}
	if m.Src.Set && !m.Src.Neg {
		p.Src = netip.AddrPortFrom(m.Src.Val.Addr(), p.Src.Port())
	}
	if m.Dst.Set && !m.Dst.Neg {
		p.Dst = netip.AddrPortFrom(m.Dst.Val.Addr(), p.Dst.Port())
	}
	if m.SPort.Set && !m.SPort.Neg {
		p.Src = netip.AddrPortFrom(p.Src.Addr(), m.SPort.Val.Lo)
	}
	if m.DPort.Set && !m.DPort.Neg {
		p.Dst = netip.AddrPortFrom(p.Dst.Addr(), m.DPort.Val.Lo)
	}
	if m.DPorts.Set && !m.DPorts.Neg {
		p.Dst = netip.AddrPortFrom(p.Dst.Addr(), m.DPorts.Val[0].Lo)
	}
	for _, c := range []iptables.Cond[iptables.Interface]{m.In, m.Out} {
		if c.Set && !c.Neg {
			p.In = device0(c.Val)
		}
	}
	if m.State.Set && !m.State.Neg {
		p.State = m.State.Val & -m.State.Val
	}
	if m.Mark.Set && !m.Mark.Neg {
		p.Mark = m.Mark.Val.Value
	}
	if m.ConnMark.Set && !m.ConnMark.Neg {
		p.ConnMark = m.ConnMark.Val.Value
	}
	owner := *p.Owner
	for _, c := range m.UIDs {
		if !c.Neg {
			owner.UID = c.Val.Lo
		}
	}
	for _, c := range m.GIDs {
		if !c.Neg {
			owner.GID = c.Val.Lo
		}
	}
	p.Owner = &owner
}

// at puts a packet to a hook: it has an owner only where it leaves a socket, what is
// for localhost goes by lo, and what comes by lo has met nat already.
func at(p iptables.Packet, hook string) iptables.Packet {
	device := p.In
	switch {
	case hook == iptables.Output && p.Dst.Addr().IsLoopback():
		device = "lo"
	case hook == iptables.Prerouting && device != "lo" && p.Dst.Addr().IsLoopback():
		p.Dst = netip.AddrPortFrom(p.Src.Addr(), p.Dst.Port())
	}
	p.In, p.Out = device, ""
	switch hook {
	case iptables.Output, postrouting:
		p.In, p.Out = "", device
	case forward:
		p.Out = "eth0"
	}
	if hook != iptables.Output && hook != postrouting {
		p.Owner = nil
	}
	p.NATDone = hook == iptables.Prerouting && device == "lo"
	return p
}
