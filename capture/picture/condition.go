package picture

import (
	"net/netip"
	"strconv"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// terms returns the conditions of a rule as iptables writes them, without modules and
// full masks. Addresses that differ become IPV4|IPV6; other is the match of the second
// family, or the same.
func terms(m, other iptables.Match) []string {
	var t []string
	for c := range m.Conditions() {
		text := c.Flag + " " + c.Value
		switch {
		case c.Flag == "-s":
			text = addresses(c.Flag, m.Src.Val, other.Src.Val)
		case c.Flag == "-d":
			text = addresses(c.Flag, m.Dst.Val, other.Dst.Val)
		case c.Flag == "--tcp-flags":
			text = "--syn"
		case c.Module == "connmark":
			text = "-m connmark " + text
		}
		if c.Neg && text != "" {
			text = "! " + text
		}
		if text != "" {
			t = append(t, text)
		}
	}
	return t
}

// addresses returns a condition on addresses of both families; "" if it matches every
// address.
func addresses(option string, p, other netip.Prefix) string {
	switch {
	case p.Bits() == 0 && other.Bits() == 0:
		return ""
	case p == other:
		return option + " " + prefix(p)
	}
	return option + " " + prefix(p) + "|" + prefix(other)
}

// prefix returns a prefix as iptables prints it, without its bits if it is one address.
func prefix(p netip.Prefix) string {
	if p.Bits() == 0 {
		return p.String()
	}
	text := iptables.Rule{Match: iptables.Match{Src: iptables.Is(p)}}.Text(inet.Of(p.Addr()))
	text = strings.TrimPrefix(text, "-s ")
	if p.IsSingleIP() {
		text = strings.TrimSuffix(text, "/"+strconv.Itoa(p.Bits()))
	}
	return text
}

// condition returns the conditions of a rule; "" if it matches every packet. Those of
// a foreign rule are as iptables-save prints them, since the types do not have them all.
func condition(f inet.Family, r, other iptables.Rule) string {
	if r.Foreign == nil {
		return strings.Join(terms(r.Match, other.Match), " ")
	}
	end := iptables.Rule{Target: r.Target}.Text(f)
	if r.Target == nil && r.Foreign.Target != "" {
		end = "-j " + r.Foreign.Target
	}
	return strings.TrimSuffix(strings.TrimSuffix(r.Foreign.Text, end), " ")
}

// orAll returns a condition, or "all" if there is none.
func orAll(when string) string {
	if when == "" {
		return "all"
	}
	return when
}

// outcome returns what a rule does, in short.
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
		zone := "CT zone " + strconv.Itoa(int(t.ID))
		if t.Original {
			zone += ", original direction"
		}
		return zone
	}
	if r.Foreign != nil && r.Foreign.Target != "" {
		return r.Foreign.Target
	}
	return "nothing"
}

// destination returns the chain of a jump or goto; "" for other targets.
func destination(r iptables.Rule) string {
	switch t := r.Target.(type) {
	case iptables.Jump:
		return t.Chain
	case iptables.Goto:
		return t.Chain
	}
	return ""
}
