package nftables

import (
	"encoding/binary"

	"istio-init/iptables"
)

// marks reads a mark or a set of states.
func (d *decoder) marks(neg bool, value []byte) bool {
	if len(value) != 4 || d.mask != nil && len(d.mask) != 4 {
		return false
	}
	mark := iptables.FullMark(binary.NativeEndian.Uint32(value))
	if d.mask != nil {
		mark.Mask = binary.NativeEndian.Uint32(d.mask)
	}
	is := iptables.Cond[iptables.Mark]{Val: mark, Neg: neg, Set: true}
	switch d.field {
	case markField.name:
		d.rule.Mark = is
	case connMarkField.name:
		d.rule.ConnMark = is
	default:
		d.rule.State = iptables.Cond[iptables.States]{Neg: !neg, Set: true}
		for _, s := range states {
			if mark.Mask&s.bit != 0 {
				d.rule.State.Val |= s.state
			}
		}
	}
	return true
}

func (d *decoder) owners(neg bool, of []interval) bool {
	var ids []iptables.IDRange
	for _, i := range of {
		if len(i.lo) != 4 || len(i.hi) != 4 {
			return false
		}
		number := binary.NativeEndian.Uint32
		if d.networkOrder {
			number = binary.BigEndian.Uint32
		}
		ids = append(ids, iptables.IDRange{Lo: number([]byte(i.lo)), Hi: number([]byte(i.hi))})
	}
	conds := &d.rule.UIDs
	if d.field == gidField.name {
		conds = &d.rule.GIDs
	}
	if len(ids) > 1 && !neg {
		d.gids = ids
		return d.field == gidField.name
	}
	for _, id := range ids {
		*conds = append(*conds, iptables.Cond[iptables.IDRange]{Val: id, Neg: neg, Set: true})
	}
	return true
}
