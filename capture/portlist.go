package capture

import (
	"cmp"
	"slices"

	"istio-init/iptables"
)

// maxPortRules is how long a list of ports may be of which each element has a
// rule of its own, as in Istio.
const maxPortRules = 15

// packed returns the conditions on the destination port under which a packet goes
// to one of the ports: one for each element of a short list, in its order; for a
// long one as few as possible. The older generations had one for each.
func (c Config) packed(ports []iptables.PortRange) []match {
	if len(ports) > maxPortRules && c.Generation == Current {
		ports = mergePorts(ports)
	}
	if len(ports) <= maxPortRules || c.Generation != Current {
		return each(ports, func(p iptables.PortRange) match { return match{DPort: iptables.Is(p)} })
	}
	var conds []match
	for len(ports) > 0 {
		n := multiportLen(ports)
		if n == 1 {
			conds = append(conds, match{DPort: iptables.Is(ports[0])})
		} else {
			conds = append(conds, match{DPorts: iptables.Is(ports[:n:n])})
		}
		ports = ports[n:]
	}
	return conds
}

// multiportLen is how many of the first ranges one multiport match holds.
func multiportLen(ports []iptables.PortRange) int {
	slots := 0
	for i, p := range ports {
		slots++
		if !p.Single() {
			slots++
		}
		if slots > iptables.MaxMultiport {
			return i
		}
	}
	return len(ports)
}

// mergePorts returns the same ports as few ranges in ascending order.
func mergePorts(ports []iptables.PortRange) []iptables.PortRange {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b iptables.PortRange) int {
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
	return merged
}

// each makes something of every element of a list.
func each[T, U any](list []T, of func(T) U) []U {
	if len(list) == 0 {
		return nil
	}
	out := make([]U, 0, len(list))
	for _, v := range list {
		out = append(out, of(v))
	}
	return out
}
