package picture

import (
	"slices"

	"istio-init/capture/path"
	"istio-init/iptables"
)

// A visit is a chain that packets of a frame enter.
type visit struct {
	node *node
	frame
}

// pass adds the edges of a pass, of its tables that have rules.
func (g *graph) pass(p pass) {
	var stages []*chain
	for _, table := range p.tables() {
		if c := g.view.find(table, p.hook); c != nil && (len(c.rules) > 0 || c.drops) {
			stages = append(stages, c)
		}
	}
	if len(stages) == 0 && !p.captures() {
		return
	}
	p.source.kind, p.end.kind = sourceNode, endNode
	f := frame{pass: &p}
	source := port{g.node("source "+p.source.title, p.source), -1}
	if p.hook == iptables.Prerouting {
		f.device = notLo
		g.stages(source, f, stages)
		if stages = g.byLo(stages); len(stages) == 0 {
			return
		}
		f.device = onlyLo
		source = port{g.node("source lo", node{kind: sourceNode, title: "lo", detail: "own pod, after OUTPUT"}), -1}
	}
	g.stages(source, f, stages)
}

// byLo returns the stages of PREROUTING for packets that the pod sends to itself over
// lo; none if no rule there redirects or drops packets. Such a connection passes nat at
// OUTPUT, and only once.
func (g *graph) byLo(stages []*chain) []*chain {
	stages = slices.DeleteFunc(slices.Clone(stages), func(c *chain) bool { return c.table == iptables.NAT })
	for _, c := range g.view.chains {
		decides := c.drops || slices.ContainsFunc(c.rules, func(r viewRule) bool {
			e, ok := g.view.end(c, r)
			return ok && e.landing != path.Direct || r.rule.Foreign.Effect() > iptables.Accepts
		})
		if decides && slices.ContainsFunc(stages, func(s *chain) bool { return s.table == c.table }) {
			return stages
		}
	}
	return nil
}

// stages adds the edges of a source through built-in chains.
func (g *graph) stages(source port, f frame, stages []*chain) {
	if len(stages) == 0 {
		to, w := g.notRedirected(f)
		g.edge(source, to, w)
		return
	}
	g.edge(source, port{g.chain(stages[0]), -1}, f.undecided())
	for i, c := range stages {
		f.drops, f.next = c.drops, port{}
		if i+1 < len(stages) {
			f.next = port{g.chain(stages[i+1]), -1}
		}
		g.visit(g.chain(c), f)
	}
}

// visit adds the edges of a frame through the rows of a chain.
func (g *graph) visit(n *node, f frame) {
	if g.seen[visit{n, f}] {
		return
	}
	g.seen[visit{n, f}] = true
	if n.kind == othersNode { // chains that are not shown may return
		to, _ := g.returned(f)
		g.edge(port{n, -1}, to, foreign)
		return
	}
	for i := 0; i < len(n.rows) && !n.rows[i].end; i++ {
		for _, r := range n.rows[i].outs {
			if under, meets := f.narrowed(r); meets {
				g.leave(port{n, i}, r, under)
			}
		}
		if n.rows[i].more {
			g.edge(port{n, i}, port{g.others(), -1}, foreign)
		}
	}
	if n.open(f) {
		if i := len(n.rows) - 1; i < 0 || !n.rows[i].end {
			n.rows = append(n.rows, n.endRow())
		}
		to, w := g.returned(f)
		g.edge(port{n, len(n.rows) - 1}, to, w)
	}
}

// leave adds the edge of packets that a rule takes.
func (g *graph) leave(from port, r viewRule, f frame) {
	n := from.node
	c := n.chains[0]
	if r.target != "" {
		if to := g.view.find(c.table, r.target); to != nil && !n.branches(r) {
			g.jump(from, to, r, f)
		}
		return
	}
	if r.rule.Target == nil {
		g.foreign(from, r, f)
		return
	}
	e, ok := g.view.end(c, r)
	switch {
	case !ok: // meets the next rule
	case e.landing == path.Direct && r.rule.Target == iptables.Return:
		to, w := g.returned(f)
		g.edge(from, to, w)
	case e.landing == path.Direct:
		to, w := g.accepted(f)
		g.edge(from, to, w)
	case e.landing == path.Dropped:
		g.edge(from, g.dropNode(), dropped)
	default:
		g.edge(from, g.proxy(e), f.wayTo(e.landing))
	}
}

// jump adds the edge into a chain, and those through it.
func (g *graph) jump(from port, to *chain, r viewRule, f frame) {
	f.foreign = r.foreign && !to.own
	w := f.undecided()
	if l := g.view.leads(to); l != path.Direct && !f.foreign {
		w = f.wayTo(l)
	}
	n := g.chain(to)
	g.edge(from, port{n, -1}, w)
	if _, gone := r.rule.Target.(iptables.Goto); !gone {
		switch {
		case len(from.node.chains) > 1: // rules of several chains have no order
			f.back = from
		case from.row+1 < len(from.node.rows) && !from.node.rows[from.row+1].end:
			f.back = port{from.node, from.row + 1}
		}
	}
	g.visit(n, f)
}

// foreign adds the edge of a rule whose target the types do not have.
func (g *graph) foreign(from port, r viewRule, f frame) {
	switch r.rule.Foreign.Effect() {
	case iptables.GoesOn:
	case iptables.Accepts:
		to, w := g.accepted(f)
		g.edge(from, to, w)
	case iptables.Drops:
		g.edge(from, g.dropNode(), dropped)
	case iptables.TakesAway:
		name := shorten(r.kind(), maxLine/2)
		n := g.node("target "+name, node{kind: unknownNode, title: name, detail: "unknown target"})
		g.edge(from, port{n, -1}, foreign)
	}
}

// returned returns where packets go on at the end of a chain.
func (g *graph) returned(f frame) (port, way) {
	switch {
	case f.back.node != nil:
		return f.back, f.undecided()
	case f.drops:
		return g.dropNode(), dropped
	}
	return g.accepted(f)
}

// accepted returns where packets go on that a table accepts.
func (g *graph) accepted(f frame) (port, way) {
	f.foreign = false
	if f.next.node != nil {
		return f.next, f.undecided()
	}
	return g.notRedirected(f)
}

// notRedirected returns where packets end up that no rule redirects or drops.
func (g *graph) notRedirected(f frame) (port, way) {
	end := f.pass.end
	if f.pass.hook == iptables.Output && f.pass.captures() && f.device == onlyLo {
		end = node{kind: endNode, title: "app", detail: "or what listens at that port"}
		if g.byKey["source lo"] != nil {
			end = node{kind: endNode, title: "lo", detail: "back in through PREROUTING"}
		}
	}
	return port{g.node("end "+end.title, end), -1}, f.wayTo(path.Direct)
}

// dropNode returns the node of dropped packets.
func (g *graph) dropNode() port {
	return port{g.node("dropped", node{kind: droppedNode, title: "dropped"}), -1}
}
