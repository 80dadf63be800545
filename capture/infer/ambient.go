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

// ambientMarks are the marks of ambient: of ztunnel's packets and of its connections.
var ambientMarks = []iptables.Mark{{Value: 0x539, Mask: 0xfff}, {Value: 0x111, Mask: 0xfff}}

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
