package infer

import (
	"istio-init/capture"
	"istio-init/iptables"
)

// A shape is which conditions a rule has and what it does, without the values. It is a set of
// conditions and one action, as in hasTCP | hasDPort | toReturn.
type shape uint64

// The conditions. That of TCP and that of UDP are apart.
const (
	hasSrc shape = 1 << iota
	hasDst
	hasIn
	hasOut
	hasTCP
	hasUDP
	hasProto // another one
	hasSPort
	hasDPort
	hasSYN
	hasDPorts
	hasMark
	hasConnMark
	hasState
	hasUID
	hasGID
	foreign // conditions that are not known here; it stands alone
)

// negation is how far the bit of a negated condition is from that of the condition.
const negation = 20

// The negated conditions.
const (
	notDst    = hasDst << negation
	notDPort  = hasDPort << negation
	notSYN    = hasSYN << negation
	notDPorts = hasDPorts << negation
	notMark   = hasMark << negation
	notUID    = hasUID << negation
	notGID    = hasGID << negation
)

// The actions, from bit 40 on.
const (
	toReturn shape = (iota + 1) << 40
	toAccept
	toDrop
	toPort   // REDIRECT
	toSocket // TPROXY
	toSetMark
	toSaveMark
	toRestoreMark
	toZone
	toInbound
	toInRedirect
	toOutput
	toRedirect
	toOutputDNS
	toDivert
	toTProxy
	toDropChain
	toOutputGroup
	toOutputApp
	toExclude
	toInclude
	toExcludeGroup

	byGoto shape = 1 << 48 // to a chain by goto
)

// chainActions are the actions of jumps.
var chainActions = map[string]shape{
	capture.ChainInbound: toInbound, capture.ChainInRedirect: toInRedirect, capture.ChainOutput: toOutput,
	capture.ChainRedirect: toRedirect, capture.ChainOutputDNS: toOutputDNS, capture.ChainDivert: toDivert,
	capture.ChainTProxy: toTProxy, capture.ChainDrop: toDropChain, capture.ChainOutputGroup: toOutputGroup,
	capture.ChainOutputApp: toOutputApp, capture.ChainExclude: toExclude, capture.ChainInclude: toInclude,
	capture.ChainExcludeGroup: toExcludeGroup,
}

// shapeOf returns the shape of a rule. A target that is not known here is no action.
func shapeOf(r iptables.Rule) shape {
	if r.Foreign != nil && len(r.Foreign.Conditions) > 0 {
		return foreign
	}
	return conditions(r.Match) | action(r.Target)
}

// conditions returns the part of a shape for the conditions.
func conditions(m iptables.Match) shape {
	s := when(hasSrc, m.Src) | when(hasDst, m.Dst) | when(hasIn, m.In) | when(hasOut, m.Out) |
		when(hasSPort, m.SPort) | when(hasDPort, m.DPort) | when(hasSYN, m.SYN) | when(hasDPorts, m.DPorts) |
		when(hasMark, m.Mark) | when(hasConnMark, m.ConnMark) | when(hasState, m.State)
	for _, uid := range m.UIDs {
		s |= when(hasUID, uid)
	}
	for _, gid := range m.GIDs {
		s |= when(hasGID, gid)
	}
	switch m.Proto {
	case 0:
	case iptables.TCP:
		s |= hasTCP
	case iptables.UDP:
		s |= hasUDP
	default:
		s |= hasProto
	}
	return s
}

// when returns the bit of a condition that is set.
func when[T any](bit shape, c iptables.Cond[T]) shape {
	switch {
	case !c.Set:
		return 0
	case c.Neg:
		return bit << negation
	}
	return bit
}

// action returns the part of a shape for the target.
func action(t iptables.Target) shape {
	switch t := t.(type) {
	case iptables.Jump:
		return chainAction(t.Chain)
	case iptables.Goto:
		return chainAction(t.Chain) | byGoto
	case iptables.Verdict:
		return [...]shape{iptables.Return: toReturn, iptables.Accept: toAccept, iptables.Drop: toDrop}[t]
	case iptables.Redirect:
		return toPort
	case iptables.TProxy:
		return toSocket
	case iptables.SetMark:
		return toSetMark
	case iptables.SaveMark:
		return toSaveMark
	case iptables.RestoreMark:
		return toRestoreMark
	case iptables.Zone:
		return toZone
	}
	return 0
}

// chainAction returns the action of a jump to a chain.
func chainAction(chain string) shape { return chainActions[capture.ListChain(chain)] }

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
