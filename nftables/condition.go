package nftables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A hex is a mark, which nft prints with all its digits.
type hex uint32

func (h hex) String() string { return fmt.Sprintf("0x%08x", uint32(h)) }

func network16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func network32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func host16(v uint16) []byte    { return binary.NativeEndian.AppendUint16(nil, v) }
func host32(v uint32) []byte    { return binary.NativeEndian.AppendUint32(nil, v) }

// A field is a property of packets with a name in nft: what loads it, and for addresses their
// size.
type field struct {
	name string
	load expression
	kind uint32 // of a set of its values
}

// addressFields are the source and the destination of packets.
var addressFields = inet.PerFamily[[2]field]{
	{
		{"ip saddr", payload(unix.NFT_PAYLOAD_NETWORK_HEADER, 12, 4), kindIPv4},
		{"ip daddr", payload(unix.NFT_PAYLOAD_NETWORK_HEADER, 16, 4), kindIPv4},
	},
	{
		{"ip6 saddr", payload(unix.NFT_PAYLOAD_NETWORK_HEADER, 8, 16), kindIPv6},
		{"ip6 daddr", payload(unix.NFT_PAYLOAD_NETWORK_HEADER, 24, 16), kindIPv6},
	},
}

// Other properties of packets.
var (
	inField       = field{name: "iifname", load: meta(unix.NFT_META_IIFNAME)}
	outField      = field{name: "oifname", load: meta(unix.NFT_META_OIFNAME)}
	protoField    = field{name: "meta l4proto", load: meta(unix.NFT_META_L4PROTO)}
	sportField    = field{name: "sport", load: payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2), kind: kindPort}
	dportField    = field{name: "dport", load: payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), kind: kindPort}
	flagsField    = field{name: "tcp flags", load: payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1)}
	markField     = field{name: "meta mark", load: meta(unix.NFT_META_MARK)}
	connMarkField = field{name: "ct mark", load: conntrack(unix.NFT_CT_MARK)}
	stateField    = field{name: "ct state", load: conntrack(unix.NFT_CT_STATE)}
	uidField      = field{name: "meta skuid", load: meta(unix.NFT_META_SKUID), kind: kindUID}
	gidField      = field{name: "meta skgid", load: meta(unix.NFT_META_SKGID), kind: kindGID}
)

var otherFields = []field{inField, outField, protoField, sportField, dportField, flagsField, markField, connMarkField, stateField, uidField, gidField}

// operator returns the comparison for equal, and how nft prints it before a value.
func operator(neg bool) (op uint32, text string) {
	if neg {
		return unix.NFT_CMP_NEQ, "!= "
	}
	return unix.NFT_CMP_EQ, ""
}

func (l list) addresses(r *Rule, f inet.Family) error {
	if l.Src.Set {
		r.address(addressFields[f][0], l.Src.Neg, []netip.Prefix{l.Src.Val.Masked()})
	}
	dsts := l.dsts
	if l.Dst.Set && len(dsts) == 0 {
		dsts = []netip.Prefix{l.Dst.Val.Masked()}
	}
	if len(dsts) > 0 {
		r.address(addressFields[f][1], l.Dst.Neg, dsts)
	}
	return nil
}

// address appends a condition on an address. That of every address is none.
func (r *Rule) address(a field, neg bool, prefixes []netip.Prefix) {
	texts := make([]string, len(prefixes))
	intervals := make([]interval, len(prefixes))
	for i, p := range prefixes {
		intervals[i], texts[i] = addresses(p), iptables.AddrText(p.Addr())
		if !p.IsSingleIP() {
			texts[i] += fmt.Sprintf("/%d", p.Bits())
		}
	}
	first := prefixes[0]
	op, not := operator(neg)
	switch {
	case len(prefixes) > 1:
		r.add(a.name+" "+not+setText(texts), a.load, lookup(neg, &set{kind: a.kind, intervals: intervals}))
	case first.Bits() == 0 && !neg:
	case first.IsSingleIP():
		r.add(a.name+" "+not+texts[0], a.load, compare(op, first.Addr().AsSlice()))
	default:
		bits := []byte(addresses(netip.PrefixFrom(inet.Of(first.Addr()).Any(), first.Bits())).hi)
		for i := range bits {
			bits[i] = ^bits[i]
		}
		r.add(a.name+" "+not+texts[0], a.load, mask(bits), compare(op, first.Addr().AsSlice()))
	}
}

// setText is how nft prints the values of a set.
func setText(texts []string) string { return "{ " + strings.Join(texts, ", ") + " }" }

func (l list) interfaces(r *Rule, _ inet.Family) error {
	r.onInterface(inField, l.In)
	r.onInterface(outField, l.Out)
	return nil
}

func (r *Rule) onInterface(i field, c iptables.Cond[iptables.Interface]) {
	if !c.Set {
		return
	}
	op, not := operator(c.Neg)
	name, isPrefix := strings.CutSuffix(string(c.Val), "+")
	value, text := append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...), name
	if isPrefix {
		value, text = []byte(name), name+"*"
	}
	r.add(fmt.Sprintf("%s %s%q", i.name, not, text), i.load, compare(op, value))
}

// transport appends the conditions on the protocol and its header. nft prints the protocol
// only where no other condition names it.
func (l list) transport(r *Rule, _ inet.Family) error {
	named := l.SPort.Set || l.DPort.Set || l.DPorts.Set || l.SYN.Set
	switch {
	case l.Proto == 0 && !named:
		return nil
	case l.Proto == 0:
		return errors.New("a port needs a protocol")
	}
	text := protoField.name + " " + l.Proto.String()
	if named {
		text = ""
	}
	r.add(text, protoField.load, compare(unix.NFT_CMP_EQ, []byte{uint8(l.Proto)}))
	for _, p := range []struct {
		field
		iptables.Cond[[]iptables.PortRange]
	}{
		{sportField, one(l.SPort)}, {dportField, one(l.DPort)}, {dportField, l.DPorts},
	} {
		if p.Set {
			p.name = l.Proto.String() + " " + p.name
			r.ports(p.field, p.Cond)
		}
	}
	if l.SYN.Set {
		op, not := operator(l.SYN.Neg)
		const fin, syn, rst, ack = 1, 2, 4, 16
		r.add(flagsField.name+" "+not+"syn / fin,syn,rst,ack", flagsField.load, mask([]byte{fin | syn | rst | ack}), compare(op, []byte{syn}))
	}
	return nil
}

func one(c iptables.Cond[iptables.PortRange]) iptables.Cond[[]iptables.PortRange] {
	return iptables.Cond[[]iptables.PortRange]{Val: []iptables.PortRange{c.Val}, Neg: c.Neg, Set: c.Set}
}

func (r *Rule) ports(p field, c iptables.Cond[[]iptables.PortRange]) {
	var of values
	for _, v := range iptables.MergePorts(c.Val) {
		of.add(network16(v.Lo), network16(v.Hi), uint32(v.Lo), uint32(v.Hi))
	}
	op, not := operator(c.Neg)
	if text, ok := of.single(); ok {
		r.add(p.name+" "+not+text, p.load, compare(op, []byte(of.intervals[0].lo)))
		return
	}
	of.condition(r, p, c.Neg)
}

func (l list) marks(r *Rule, _ inet.Family) error {
	r.mark(markField, l.Mark)
	r.mark(connMarkField, l.ConnMark)
	if !l.State.Set {
		return nil
	}
	var bits uint32
	var names []string
	for _, s := range states {
		if l.State.Val&s.state != 0 {
			bits, names = bits|s.bit, append(names, s.name)
		}
	}
	if l.State.Val&(iptables.SNAT|iptables.DNAT) != 0 {
		return errors.New("a state of address translation has no form in nf_tables")
	}
	op, not := uint32(unix.NFT_CMP_NEQ), "" // one of the bits is set
	if l.State.Neg {
		op, not = unix.NFT_CMP_EQ, "! "
	}
	r.add(stateField.name+" "+not+strings.Join(names, ","), stateField.load, mask(host32(bits)), compare(op, host32(0)))
	return nil
}

// states in the order in which nft prints them (linux/netfilter/nf_conntrack_common.h,
// NF_CT_STATE_BIT).
var states = []struct {
	name  string
	state iptables.States
	bit   uint32
}{
	{"invalid", iptables.Invalid, 1},
	{"established", iptables.Established, 2},
	{"related", iptables.Related, 4},
	{"new", iptables.New, 8},
	{"untracked", iptables.Untracked, 64},
}

func (r *Rule) mark(m field, c iptables.Cond[iptables.Mark]) {
	if !c.Set {
		return
	}
	op, not := operator(c.Neg)
	text := fmt.Sprintf("%s %s%v", m.name, not, hex(c.Val.Value))
	exprs := []expression{m.load}
	if c.Val != iptables.FullMark(c.Val.Value) {
		if not == "" {
			not = "== "
		}
		text = fmt.Sprintf("%s & %v %s%v", m.name, hex(c.Val.Mask), not, hex(c.Val.Value))
		exprs = append(exprs, mask(host32(c.Val.Mask)))
	}
	r.add(text, append(exprs, compare(op, host32(c.Val.Value)))...)
}

func (l list) owners(r *Rule, _ inet.Family) error {
	for _, c := range together(l.UIDs) {
		r.ids(uidField, c)
	}
	gids := together(l.GIDs)
	if len(l.gids) > 0 {
		gids = []iptables.Cond[[]iptables.IDRange]{iptables.Is(l.gids)}
	}
	for _, c := range gids {
		r.ids(gidField, c)
	}
	return nil
}

// together returns the conditions with the negated ones as one: none of their ids.
func together(conds []iptables.Cond[iptables.IDRange]) []iptables.Cond[[]iptables.IDRange] {
	var all []iptables.Cond[[]iptables.IDRange]
	var none []iptables.IDRange
	for _, c := range conds {
		if c.Neg {
			none = append(none, c.Val)
			continue
		}
		all = append(all, iptables.Is([]iptables.IDRange{c.Val}))
	}
	if len(none) > 0 {
		all = slices.Concat(all, []iptables.Cond[[]iptables.IDRange]{iptables.Not(iptables.MergeGroups(none))})
	}
	return all
}

func (r *Rule) ids(owner field, c iptables.Cond[[]iptables.IDRange]) {
	var of values
	for _, v := range c.Val {
		of.add(network32(v.Lo), network32(v.Hi), v.Lo, v.Hi)
	}
	op, not := operator(c.Neg)
	if text, ok := of.single(); ok { // as the kernel has it
		r.add(owner.name+" "+not+text, owner.load, compare(op, host32(c.Val[0].Lo)))
		return
	}
	of.condition(r, owner, c.Neg, networkOrder())
}
