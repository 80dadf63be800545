package infer

import (
	"errors"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
)

// ErrAmbient says that a pod is captured by Istio's ambient mode.
var ErrAmbient = errors.New("the pod is captured by Istio's ambient mode (chain ISTIO_PRERT, or ambient's marks): " +
	"its rules are not ours, and a sidecar's rules beside them would break its traffic")

// chainAmbientInbound is ambient's chain of PREROUTING in a pod. On the node, ambient has
// only ISTIO_POSTRT.
const chainAmbientInbound = "ISTIO_PRERT"

// ZtunnelMark is the mark of the packets of ztunnel, the proxy of ambient.
var ZtunnelMark = iptables.Mark{Value: 0x539, Mask: 0xfff}

// ambientMarks are the marks of ambient: of ztunnel's packets and of its connections.
var ambientMarks = []iptables.Mark{ZtunnelMark, {Value: 0x111, Mask: 0xfff}}

// setsAmbientMark is a target that the types do not have.
const setsAmbientMark = "CONNMARK --set-xmark 0x111/0xfff"

// Ambient reports whether the rules of ambient mode are in a pod. Some releases use the name
// ISTIO_OUTPUT, which is a sidecar's too, so that other chains or the marks decide.
func Ambient(s iptables.Snapshot) bool {
	return slices.ContainsFunc(s.Tables, func(t iptables.LiveTable) bool {
		return slices.ContainsFunc(t.Chains, func(c iptables.LiveChain) bool {
			return c.Name == chainAmbientInbound || c.Name == capture.ChainOutput && slices.ContainsFunc(c.Rules, hasAmbientMark)
		})
	})
}

// ownsOutput reports whether a table's chain ISTIO_OUTPUT is ambient's: ambient's inbound
// chain is beside it, or it has ambient's marks. A chain with the rules of a sidecar is not,
// whatever else is in the namespace.
func ownsOutput(t iptables.LiveTable) bool {
	rules := t.Chain(capture.ChainOutput).Rules
	if slices.ContainsFunc(rules, jumpsToOurs) {
		return false
	}
	if slices.ContainsFunc(rules, hasAmbientMark) {
		return true
	}
	beside := slices.ContainsFunc(t.Chains, func(c iptables.LiveChain) bool { return c.Name == chainAmbientInbound })
	return beside && !slices.ContainsFunc(rules, isSidecars)
}

// jumpsToOurs reports whether a rule of ISTIO_OUTPUT continues in another chain of ours.
func jumpsToOurs(r iptables.LiveRule) bool {
	switch t := r.Rule.Target.(type) {
	case iptables.Jump:
		return t.Chain != capture.ChainOutput && capture.Owns(t.Chain)
	case iptables.Goto:
		return t.Chain != capture.ChainOutput && capture.Owns(t.Chain)
	}
	return false
}

// isSidecars reports whether a rule of ISTIO_OUTPUT is one of a sidecar: it matches the
// owner of a packet, or it matches or sets a whole mark. Ambient masks its marks.
func isSidecars(r iptables.LiveRule) bool {
	const whole = 0xffffffff
	set, sets := r.Rule.Target.(iptables.SetMark)
	return len(r.Rule.UIDs)+len(r.Rule.GIDs) > 0 || sets && set.Mark.Mask == whole ||
		r.Rule.Mark.Set && r.Rule.Mark.Val.Mask == whole || r.Rule.ConnMark.Set && r.Rule.ConnMark.Val.Mask == whole
}

// hasAmbientMark reports whether a rule matches or sets a mark of ambient.
func hasAmbientMark(live iptables.LiveRule) bool {
	r := live.Rule
	for _, mark := range ambientMarks {
		set, sets := r.Target.(iptables.SetMark)
		if r.Mark.Set && r.Mark.Val == mark || r.ConnMark.Set && r.ConnMark.Val == mark || sets && set.Mark == mark {
			return true
		}
	}
	return r.Foreign != nil && r.Foreign.Target == setsAmbientMark
}
