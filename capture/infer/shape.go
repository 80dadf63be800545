package infer

import (
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// form returns which conditions a rule has and what it does, without the values:
// "tcp dport RETURN" for "-p tcp -m tcp --dport 80 -j RETURN". A "!" stands before
// a condition that is negated; several owners of a kind are named once.
func form(r iptables.Rule) string {
	if r.Foreign != nil && len(r.Foreign.Conditions) > 0 {
		return "foreign"
	}
	var words []string
	for c := range r.Conditions() {
		name := conditionName(c)
		if c.Neg {
			name = "!" + name
		}
		if len(words) == 0 || words[len(words)-1] != name {
			words = append(words, name)
		}
	}
	return strings.Join(append(words, targetName(r.Target)), " ")
}

// conditionName is the name of a condition in a form: mostly its flag.
func conditionName(c iptables.Condition) string {
	switch c.Flag {
	case "-p":
		return c.Value
	case "--tcp-flags":
		return "syn"
	case "--mark":
		return c.Module
	}
	name := strings.TrimPrefix(strings.TrimLeft(c.Flag, "-"), "ct")
	return strings.TrimSuffix(name, "-owner")
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
	for _, root := range []string{capture.ChainExclude, capture.ChainInclude} {
		if number, ok := strings.CutPrefix(chain, root+"_"); ok && strings.Trim(number, "0123456789") == "" {
			return root
		}
	}
	return chain
}

// destinationPorts are the ports that a rule names, in either way of naming them.
func destinationPorts(m iptables.Match) []iptables.PortRange {
	if m.DPorts.Set {
		return m.DPorts.Val
	}
	if m.DPort.Set {
		return []iptables.PortRange{m.DPort.Val}
	}
	return nil
}

// jumpsTo reports whether a rule jumps to a chain.
func jumpsTo(r iptables.Rule, chain string) bool {
	jump, ok := r.Target.(iptables.Jump)
	return ok && jump.Chain == chain
}
