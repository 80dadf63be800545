package report

import (
	"strings"

	"istio-init/capture/path"
)

// The results. One that names no mesh is about rules of Istio's sidecar.
const (
	resultCaptured    result = "captured"
	resultNotCaptured result = "not-captured"
	resultBroken      result = "broken"  // there are rules, and they capture nothing of what they should
	resultAmbient     result = "ambient" // by Istio's ambient mode
	resultForeign     result = "foreign" // by foreign rules
	resultUnknown     result = "unknown" // a table that may capture could not be read
)

const (
	wayInbound  way = "inbound"
	wayOutbound way = "outbound"
	wayDNS      way = "dns"
)

// capture returns which connections our rules capture, and what is with those of the pod.
func (s State) capture() (directions, result) {
	c := s.config
	wanted := directions{!c.InboundPorts.Empty(), !c.OutboundPrefixes.Empty() || len(c.OutboundPorts) > 0, c.DNS.Captures()}
	switch {
	case s.Ambient && !s.Captures:
		return directions{}, resultAmbient
	case !s.Captures && len(s.redirects) > 0:
		return directions{}, resultForeign
	case s.Unknown():
		return directions{}, resultUnknown
	case !s.Captures:
		return directions{}, resultNotCaptured
	}
	captured := directions{
		wanted.Inbound && !s.lost(path.Inbound), wanted.Outbound && !s.lost(path.Outbound), wanted.DNS && !s.lost(path.DNS),
	}
	switch {
	case captured != directions{}:
		return captured, resultCaptured
	case wanted != directions{}:
		return captured, resultBroken
	}
	return captured, resultNotCaptured
}

// Works reports whether connections are captured, and no problem is known.
func (s State) Works() bool { return s.Result == resultCaptured && len(s.Problems) == 0 }

// headline returns the answer in one sentence.
func (s State) headline() string {
	what := ""
	switch of := s.Captured; s.Result {
	case resultAmbient:
		return "the pod is in Istio's ambient mode, " + s.where + ": its rules are not ours"
	case resultForeign:
		return s.meshHeadline()
	case resultUnknown:
		return "it is not known what is captured: " + strings.Join(s.unprinted, "; ")
	case resultNotCaptured:
		if s.Captures {
			return "nothing is captured, though there are chains of a mesh"
		}
		return "nothing is captured: there are no rules of a mesh"
	case resultBroken:
		return "not captured, though there are rules of a mesh: see the problems"
	case resultCaptured:
		switch {
		case of.Inbound && of.Outbound:
			what = "captured: inbound and outbound"
		case of.Inbound:
			what = "captured: inbound only"
		case of.Outbound:
			what = "captured: outbound only"
		default:
			what = "captured: DNS queries only"
		}
	}
	var families []string
	for _, f := range s.Families {
		families = append(families, f.String())
	}
	what += ", " + strings.Join(families, " and ")
	if len(s.Problems) > 0 {
		what += "; but there are problems"
	}
	return what
}
