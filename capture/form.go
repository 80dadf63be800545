package capture

import (
	"strings"

	"istio-init/iptables"
)

// form returns which conditions a rule has and what it does, without the values:
// "tcp dport RETURN" for "-p tcp -m tcp --dport 80 -j RETURN". A "!" stands before
// a condition that is negated; several owners of a kind are named once.
func form(r rule) string {
	var words []string
	add := func(set, neg bool, name string) {
		if neg {
			name = "!" + name
		}
		if set && (len(words) == 0 || words[len(words)-1] != name) {
			words = append(words, name)
		}
	}
	if r.Foreign != nil && len(r.Foreign.Conditions) > 0 {
		return "foreign"
	}
	add(r.Src.Set, r.Src.Neg, "s")
	add(r.Dst.Set, r.Dst.Neg, "d")
	add(r.In.Set, r.In.Neg, "i")
	add(r.Out.Set, r.Out.Neg, "o")
	add(r.Proto != 0, false, r.Proto.String())
	add(r.SPort.Set, r.SPort.Neg, "sport")
	add(r.DPort.Set, r.DPort.Neg, "dport")
	add(r.SYN.Set, r.SYN.Neg, "syn")
	add(r.DPorts.Set, r.DPorts.Neg, "dports")
	add(r.Mark.Set, r.Mark.Neg, "mark")
	add(r.ConnMark.Set, r.ConnMark.Neg, "connmark")
	add(r.State.Set, r.State.Neg, "state")
	for _, c := range r.UIDs {
		add(true, c.Neg, "uid")
	}
	for _, c := range r.GIDs {
		add(true, c.Neg, "gid")
	}
	return strings.Join(append(words, targetName(r.Target)), " ")
}

// targetName is the name of a target, or of the chain that a jump goes to.
func targetName(t iptables.Target) string {
	switch t := t.(type) {
	case iptables.Jump:
		return listName(t.Chain)
	case iptables.Goto:
		return "goto " + listName(t.Chain)
	case iptables.Verdict:
		return t.String()
	case iptables.Redirect:
		return "REDIRECT"
	case iptables.TProxy:
		return "TPROXY"
	case iptables.SetMark:
		return "MARK"
	case iptables.SaveMark:
		return "SAVE"
	case iptables.RestoreMark:
		return "RESTORE"
	case iptables.Zone:
		return "CT"
	}
	return "-"
}

// listName is the name of a chain without the number of a branch.
func listName(chain string) string {
	for _, root := range []string{ChainExclude, ChainInclude} {
		if number, ok := strings.CutPrefix(chain, root+"_"); ok && strings.Trim(number, "0123456789") == "" {
			return root
		}
	}
	return chain
}

// destinationPorts are the ports that a rule names, in either way of naming them.
func destinationPorts(m match) []iptables.PortRange {
	if m.DPorts.Set {
		return m.DPorts.Val
	}
	if m.DPort.Set {
		return []iptables.PortRange{m.DPort.Val}
	}
	return nil
}
