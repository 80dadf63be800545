package picture

import (
	"fmt"
	"slices"
)

func (n need) isMetBy(e edge) bool {
	return e.from == n.from && e.to == n.to && (n.way == anyWay || n.way == e.way)
}

// missing returns the edges that a packet takes and the graph lacks.
func (f *follower) missing() []string {
	var all []string
	for n, packet := range f.needs {
		if !slices.ContainsFunc(f.g.edges, n.isMetBy) {
			all = append(all, fmt.Sprintf("no edge %s for %+v", edge(n), packet))
		}
	}
	slices.Sort(all)
	return all
}

// differences returns these, the edges that no packet takes, and those of packets that
// leave the pod to an end in it, or the other way round.
func (f *follower) differences() []string {
	all := f.missing()
	for n := range f.needs {
		if f.leave[n] != (n.way == notCaptured) && n.to.node != nil && slices.Contains([]string{"destination", "app", "lo"}, n.to.node.title) {
			all = append(all, fmt.Sprintf("edge %s, packets that leave the pod: %v", edge(n), f.leave[n]))
		}
	}
	for _, e := range f.unproven() {
		all = append(all, fmt.Sprintf("no packet takes the edge %s", e))
	}
	slices.Sort(all)
	return all
}

// unproven returns the edges that no packet takes.
func (f *follower) unproven() []edge {
	return slices.DeleteFunc(slices.Clone(f.g.edges), func(e edge) bool {
		_, taken := f.needs[need(e)]
		_, some := f.needs[need{e.from, e.to, anyWay}]
		return taken || some
	})
}

func (e edge) String() string {
	name := "any way"
	if e.way != anyWay {
		name = wayNames[e.way]
	}
	return fmt.Sprintf("%s -> %s (%s)", e.from, e.to, name)
}

func (p port) String() string {
	switch {
	case p.node == nil:
		return "(no node)"
	case p.row < 0 || p.row >= len(p.node.rows):
		return fmt.Sprintf("%s %s", p.node.title, p.node.detail)
	}
	r := p.node.rows[p.row]
	return fmt.Sprintf("%s %s [%s %s]", p.node.title, p.node.detail, r.numbers, r.reason)
}
