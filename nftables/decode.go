package nftables

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// decode sets what the first of the rules says, and returns how many rules say it; 0 where
// it is none of ours. It reads each expression by itself, so what it returns has to be compiled
// again to know that nothing is missing.
func decode(f inet.Family, table string, rules []Rule) int {
	d := decoder{family: f, chains: table + "-"}
	for _, e := range rules[0].exprs {
		if !d.expression(e) {
			return 0
		}
	}
	if d.rule.Target == nil {
		return 0
	}
	rules[0].Typed = d.each()
	if _, ok := d.rule.Target.(iptables.TProxy); !ok {
		return 1
	}
	if len(rules) < 2 {
		return 0
	}
	rules[1].Typed = nil
	return 2
}

// A decoder reads the expressions of a rule in their order.
type decoder struct {
	family inet.Family
	chains string // with which the names of our chains begin
	rule   iptables.Rule
	dsts   []netip.Prefix
	gids   []iptables.IDRange

	field        string // in the register
	mask         []byte // that was put over it
	networkOrder bool
	value        []byte // that was loaded
}

// each returns the rule for each element of its list.
func (d *decoder) each() []iptables.Rule {
	rules := make([]iptables.Rule, 0, max(1, len(d.dsts)+len(d.gids)))
	for _, p := range d.dsts {
		r := d.rule
		r.Dst = iptables.Cond[netip.Prefix]{Val: p, Neg: d.rule.Dst.Neg, Set: true}
		rules = append(rules, r)
	}
	for _, g := range d.gids {
		r := d.rule
		r.GIDs = []iptables.Cond[iptables.IDRange]{iptables.Is(g)}
		rules = append(rules, r)
	}
	if len(rules) == 0 {
		rules = append(rules, d.rule)
	}
	return rules
}

// expression reports whether an expression is one that Compile makes.
func (d *decoder) expression(e expression) bool {
	attr := func(kind int) []byte { return netutil.Attribute([]byte(e.data), kind) }
	data := func(kind int) []byte { return netutil.Attribute(attr(kind), unix.NFTA_DATA_VALUE) }
	op := number([]byte(e.data), unix.NFTA_CMP_OP) // also NFTA_RANGE_OP
	switch e.name {
	case "meta", "ct", "payload":
		return d.load(e) || d.set(e)
	case "bitwise":
		d.mask = data(unix.NFTA_BITWISE_MASK)
	case "byteorder":
		d.networkOrder = true
	case "cmp":
		value := data(unix.NFTA_CMP_DATA)
		return d.condition(op == unix.NFT_CMP_NEQ, []interval{{string(value), string(value)}})
	case "range":
		return d.condition(op == unix.NFT_RANGE_NEQ, []interval{{string(data(unix.NFTA_RANGE_FROM_DATA)), string(data(unix.NFTA_RANGE_TO_DATA))}})
	case "lookup":
		return e.set != nil && len(e.set.intervals) > 0 && d.condition(number([]byte(e.data), unix.NFTA_LOOKUP_FLAGS) != 0, e.set.intervals)
	case "immediate":
		if v := netutil.Attribute(attr(unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT); v != nil {
			return d.verdict(int32(number(v, unix.NFTA_VERDICT_CODE)), text(v, unix.NFTA_VERDICT_CHAIN))
		}
		d.value, d.field = data(unix.NFTA_IMMEDIATE_DATA), ""
	case "redir":
		d.rule.Target = iptables.Redirect{Port: d.port()}
	case "tproxy":
		d.rule.Target = iptables.TProxy{Port: d.port()}
	default:
		return false
	}
	return true
}

// port is the loaded value as a port.
func (d *decoder) port() uint16 {
	if len(d.value) != 2 {
		return 0
	}
	return binary.BigEndian.Uint16(d.value)
}

// load takes a field into the register.
func (d *decoder) load(e expression) bool {
	for _, fields := range [][]field{addressFields[d.family][:], otherFields} {
		for _, f := range fields {
			if f.load == e {
				d.field, d.mask, d.networkOrder = f.name, nil, false
				return true
			}
		}
	}
	return false
}

// set sets a mark or a zone to what is in the register.
func (d *decoder) set(e expression) bool {
	tproxy, tproxies := d.rule.Target.(iptables.TProxy)
	switch {
	case e == setMark() && d.field == connMarkField.name:
		d.rule.Target = iptables.RestoreMark{}
	case e == setMark() && d.field == "" && len(d.value) == 4:
		mark := iptables.FullMark(binary.NativeEndian.Uint32(d.value))
		if tproxies {
			tproxy.Mark = mark
			d.rule.Target = tproxy
			return true
		}
		d.rule.Target = iptables.SetMark{Mark: mark}
	case e == setConntrack(unix.NFT_CT_MARK) && d.field == markField.name:
		d.rule.Target = iptables.SaveMark{}
	case e.name == "ct" && d.field == "" && len(d.value) == 2:
		d.rule.Target = iptables.Zone{ID: binary.NativeEndian.Uint16(d.value), Original: e == setOriginalZone()}
	default:
		return false
	}
	return true
}

func (d *decoder) verdict(code int32, chain string) bool {
	name, ours := strings.CutPrefix(chain, d.chains)
	switch {
	case code == unix.NFT_JUMP && ours:
		d.rule.Target = iptables.Jump{Chain: name}
		return true
	case code == unix.NFT_GOTO && ours:
		d.rule.Target = iptables.Goto{Chain: name}
		return true
	}
	for v, is := range verdicts {
		if _, tproxies := d.rule.Target.(iptables.TProxy); is.code == code && tproxies {
			return v == iptables.Accept
		} else if is.code == code {
			d.rule.Target = v
			return true
		}
	}
	return false
}

// condition adds the condition that the field in the register is one of the values.
func (d *decoder) condition(neg bool, of []interval) bool {
	m := &d.rule.Match
	lo := []byte(of[0].lo)
	switch d.field {
	case addressFields[d.family][0].name, addressFields[d.family][1].name:
		return d.addresses(neg, of)
	case inField.name, outField.name:
		name := iptables.Interface(bytes.TrimRight(lo, "\x00"))
		if len(lo) < unix.IFNAMSIZ {
			name += "+"
		}
		*map[string]*iptables.Cond[iptables.Interface]{inField.name: &m.In, outField.name: &m.Out}[d.field] = iptables.Cond[iptables.Interface]{Val: name, Neg: neg, Set: true}
	case protoField.name:
		if len(lo) != 1 || neg {
			return false
		}
		m.Proto = iptables.Proto(lo[0])
	case sportField.name, dportField.name:
		return d.ports(neg, of)
	case flagsField.name:
		m.SYN = iptables.Cond[bool]{Val: true, Neg: neg, Set: true}
	case markField.name, connMarkField.name, stateField.name:
		return d.marks(neg, lo)
	case uidField.name, gidField.name:
		return d.owners(neg, of)
	default:
		return false
	}
	return true
}

// addresses reads intervals, each of which has to be a prefix.
func (d *decoder) addresses(neg bool, of []interval) bool {
	prefixes := make([]netip.Prefix, 0, len(of))
	for _, i := range of {
		if len(d.mask) == len(i.lo) {
			last := []byte(i.lo)
			for b := range last {
				last[b] |= ^d.mask[b]
			}
			i.hi = string(last)
		}
		p, exact := i.prefix()
		if !p.IsValid() || d.mask == nil && !exact {
			return false
		}
		prefixes = append(prefixes, p)
	}
	is := iptables.Cond[netip.Prefix]{Val: prefixes[0], Neg: neg, Set: true}
	if d.field == addressFields[d.family][0].name {
		d.rule.Src = is
		return len(prefixes) == 1
	}
	if d.rule.Dst = is; len(prefixes) > 1 {
		d.dsts = prefixes
	}
	return len(prefixes) == 1 || !neg
}

func (d *decoder) ports(neg bool, of []interval) bool {
	var ranges []iptables.PortRange
	for _, i := range of {
		if len(i.lo) != 2 || len(i.hi) != 2 {
			return false
		}
		ranges = append(ranges, iptables.PortRange{Lo: binary.BigEndian.Uint16([]byte(i.lo)), Hi: binary.BigEndian.Uint16([]byte(i.hi))})
	}
	one := iptables.Cond[iptables.PortRange]{Val: ranges[0], Neg: neg, Set: true}
	switch {
	case len(ranges) > 1:
		d.rule.DPorts = iptables.Cond[[]iptables.PortRange]{Val: ranges, Neg: neg, Set: true}
		return d.field == dportField.name
	case d.field == sportField.name:
		d.rule.SPort = one
	default:
		d.rule.DPort = one
	}
	return true
}
