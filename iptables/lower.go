package iptables

import (
	"cmp"
	"slices"
)

// MaxPortRules is the length up to which a list of ports becomes one rule for each element,
// as in Istio.
const MaxPortRules = 15

// EachPort returns one match for each element of a list of destination ports, in its order.
func EachPort(ports []PortRange) []Match {
	matches := make([]Match, len(ports))
	for i, p := range ports {
		matches[i].DPort = Is(p)
	}
	return matches
}

// LowerPorts returns the matches of packets to one of the ports: one for each element of a
// short list; for a long list as few multiport matches as possible.
func LowerPorts(ports []PortRange) []Match {
	if len(ports) > MaxPortRules {
		ports = MergePorts(ports)
	}
	if len(ports) <= MaxPortRules {
		return EachPort(ports)
	}
	var matches []Match
	for len(ports) > 0 {
		n := multiportLen(ports)
		if n == 1 {
			matches = append(matches, Match{DPort: Is(ports[0])})
		} else {
			matches = append(matches, Match{DPorts: Is(ports[:n:n])})
		}
		ports = ports[n:]
	}
	return matches
}

// multiportLen returns how many of the first ranges fit in one multiport match.
func multiportLen(ports []PortRange) int {
	slots := 0
	for i, p := range ports {
		slots++
		if !p.Single() {
			slots++
		}
		if slots > MaxMultiport {
			return i
		}
	}
	return len(ports)
}

// MergePorts returns the same ports as few ranges in ascending order; all ports from 1.
func MergePorts(ports []PortRange) []PortRange {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b PortRange) int {
		return cmp.Or(cmp.Compare(a.Lo, b.Lo), cmp.Compare(a.Hi, b.Hi))
	})
	merged := sorted[:0]
	for _, p := range sorted {
		if n := len(merged); n > 0 && int(p.Lo) <= int(merged[n-1].Hi)+1 {
			merged[n-1].Hi = max(merged[n-1].Hi, p.Hi)
			continue
		}
		merged = append(merged, p)
	}
	if len(merged) > 0 {
		merged[0] = allPorts(merged[0])
	}
	return merged
}
