package picture

import (
	"net/netip"
	"strconv"
	"strings"

	"istio-init/iptables"
)

// terms are the conditions of a rule as iptables writes them, without what says
// nothing: the modules, and masks that are full. Addresses of both families stand
// as IPV4|IPV6; other is the rule of the second one, or the same.
func terms(m, other iptables.Match) []string {
	var t []string
	add := func(set, neg bool, option, value string) {
		if set && neg {
			option = "! " + option
		}
		if set {
			t = append(t, strings.TrimSpace(option+" "+value))
		}
	}
	if text := prefixes("-s", m.Src, other.Src); text != "" {
		t = append(t, text)
	}
	if text := prefixes("-d", m.Dst, other.Dst); text != "" {
		t = append(t, text)
	}
	add(m.In.Set, m.In.Neg, "-i", string(m.In.Val))
	add(m.Out.Set, m.Out.Neg, "-o", string(m.Out.Val))
	add(m.Proto != 0, false, "-p", m.Proto.String())
	add(m.SPort.Set, m.SPort.Neg, "--sport", m.SPort.Val.String())
	add(m.DPort.Set, m.DPort.Neg, "--dport", m.DPort.Val.String())
	add(m.SYN.Set, m.SYN.Neg, "--syn", "")
	add(m.DPorts.Set, m.DPorts.Neg, "--dports", joined(m.DPorts.Val))
	add(m.Mark.Set, m.Mark.Neg, "--mark", m.Mark.Val.String())
	add(m.ConnMark.Set, m.ConnMark.Neg, "-m connmark --mark", m.ConnMark.Val.String())
	add(m.State.Set, m.State.Neg, "--ctstate", m.State.Val.String())
	for _, c := range m.UIDs {
		add(true, c.Neg, "--uid-owner", c.Val.String())
	}
	for _, c := range m.GIDs {
		add(true, c.Neg, "--gid-owner", c.Val.String())
	}
	return t
}

func joined(ports []iptables.PortRange) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = p.String()
	}
	return strings.Join(texts, ",")
}

// prefixes is a condition on addresses; "" where every address meets it.
func prefixes(option string, c, other iptables.Cond[netip.Prefix]) string {
	every := func(p netip.Prefix) bool { return p.Bits() == 0 }
	if !c.Set || every(c.Val) && every(other.Val) {
		return ""
	}
	text := prefix(c.Val)
	if c.Val != other.Val {
		text += "|" + prefix(other.Val)
	}
	if c.Neg {
		option = "! " + option
	}
	return option + " " + text
}

// prefix is an address as iptables prints it, with its bits when it is not one
// alone.
func prefix(p netip.Prefix) string {
	if p.Bits() == 0 {
		return p.String()
	}
	f := iptables.IPv6
	if p.Addr().Is4() {
		f = iptables.IPv4
	}
	text := iptables.Rule{Match: iptables.Match{Src: iptables.Is(p)}}.Text(f)
	text = strings.TrimPrefix(text, "-s ")
	if p.IsSingleIP() {
		text = strings.TrimSuffix(text, "/"+strconv.Itoa(p.Bits()))
	}
	return text
}

// condition is what a rule asks of packets; "" where it takes all. Of a rule of
// others it is the text that iptables-save prints, since not all of it is known.
func condition(f iptables.Family, r, other iptables.Rule) string {
	if r.Foreign == nil {
		return strings.Join(terms(r.Match, other.Match), " ")
	}
	end := iptables.Rule{Target: r.Target}.Text(f)
	if r.Target == nil && r.Foreign.Target != "" {
		end = "-j " + r.Foreign.Target
	}
	return strings.TrimSuffix(strings.TrimSuffix(r.Foreign.Text, end), " ")
}

// orAll is a condition in words: without one a rule takes all packets.
func orAll(when string) string {
	if when == "" {
		return "all"
	}
	return when
}

// outcome is what a rule does, in short.
func outcome(r iptables.Rule) string {
	switch t := r.Target.(type) {
	case iptables.Jump:
		return t.Chain
	case iptables.Goto:
		return "goto " + t.Chain
	case iptables.Verdict:
		return t.String()
	case iptables.Redirect:
		return "REDIRECT to port " + strconv.Itoa(int(t.Port))
	case iptables.TProxy:
		return "TPROXY to port " + strconv.Itoa(int(t.Port)) + ", mark " + t.Mark.String()
	case iptables.SetMark:
		return "MARK " + t.Mark.String()
	case iptables.SaveMark:
		return "CONNMARK save"
	case iptables.RestoreMark:
		return "CONNMARK restore"
	case iptables.Zone:
		return "CT zone " + strconv.Itoa(int(t.ID))
	}
	if r.Foreign != nil && r.Foreign.Target != "" {
		return r.Foreign.Target
	}
	return "nothing"
}

// destination is the chain in which a rule goes on; "" for none.
func destination(r iptables.Rule) string {
	switch t := r.Target.(type) {
	case iptables.Jump:
		return t.Chain
	case iptables.Goto:
		return t.Chain
	}
	return ""
}
