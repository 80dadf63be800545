package report

import (
	"fmt"
	"slices"

	"istio-init/capture/path"
	"istio-init/netutil/inet"
)

var sampleNames = map[path.Outcome]string{
	path.Outbound: "outbound connections", path.Inbound: "inbound connections", path.DNS: "DNS queries over UDP",
}

// LostSamples says which of the connections that a configuration captures are not
// captured, and what decides that; lost is [path.Sample.Lost] or [path.Sample.Missed].
func LostSamples(samples []path.Sample, lost func(path.Sample) bool) (texts []string) {
	for _, s := range samples {
		if !lost(s) {
			continue
		}
		f := inet.Of(s.Hop.Dst.Addr())
		which := sampleNames[s.Want]
		if !allLost(samples, lost, s.Want, f) {
			which = fmt.Sprintf("some %s (%s -> %s)", which, addrText(s.Hop.Src), addrText(s.Hop.Dst))
		}
		why := ", " + becauseText(s.Hop, f)
		switch {
		case s.Lost():
		case s.Hop.Outcome == path.Direct:
			why = ": no rule takes them to the proxy"
		default:
			why = ` by our rules: "trace" shows which`
		}
		text := fmt.Sprintf("%s: %s %s%s", f, which, lostText(s.Hop), why)
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

// allLost reports whether none of these connections are captured, of those of a family.
func allLost(samples []path.Sample, lost func(path.Sample) bool, want path.Outcome, families ...inet.Family) bool {
	n := 0
	for _, s := range samples {
		if s.Want != want || !slices.Contains(families, inet.Of(s.Hop.Dst.Addr())) {
			continue
		}
		if !lost(s) {
			return false
		}
		n++
	}
	return n > 0
}

// lostText says where a connection goes that is not captured.
func lostText(hop path.Hop) string {
	switch hop.Outcome {
	case path.Direct:
		return "are not captured"
	case path.Dropped:
		return "are dropped"
	case path.NoRoute:
		return "fail"
	case path.Foreign:
		return fmt.Sprintf("are redirected to local port %d", hop.Port)
	case path.Elsewhere:
		return "are redirected to " + addrText(hop.To)
	default:
		return "are redirected to an unknown destination"
	}
}

// UncertainSamples says what could decide about connections that a configuration captures,
// and could not be evaluated, without the base chains of nftables: all of those are named.
func UncertainSamples(samples []path.Sample) (texts []string) {
	for _, s := range samples {
		for _, d := range s.Hop.Caveats {
			if text := caveatText(s.Hop, d); d.Cause != path.ForeignChain && !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
	}
	return texts
}
