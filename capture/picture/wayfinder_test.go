package picture

import (
	"fmt"
	"slices"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/iptables"
)

// A need is an edge that a traced packet takes.
type need struct {
	from, to port
	way      way // anyWay: of any
}

const anyWay way = 255

// A wayfinder derives the edges that a graph has to have from traced packets. What
// happens to a packet is told by iptables.Trace; the graph only tells which row has a
// rule.
type wayfinder struct {
	g     *graph
	needs map[need]iptables.Packet // with a packet that takes each
	leave map[need]bool            // those to an end that a packet takes which does not go by lo
	nodes map[*chain]*node
	rows  map[*chain][]int // of each rule

	// The packet that is followed.
	pass   pass
	packet iptables.Packet
	steps  []iptables.Step // that are left
	marked bool            // by a rule, for the proxy
	hidden int             // chains that it is in and that are not shown
}

func newWayfinder(g *graph) *wayfinder {
	w := &wayfinder{g: g, needs: map[need]iptables.Packet{}, leave: map[need]bool{}, nodes: map[*chain]*node{}, rows: map[*chain][]int{}}
	for _, c := range g.view.chains {
		w.nodes[c] = g.byKey["others"]
	}
	for _, n := range g.nodes {
		for _, c := range n.chains {
			w.nodes[c] = n
			for _, r := range c.rules {
				w.rows[c] = append(w.rows[c], rowOf(n, r))
			}
		}
	}
	return w
}

// follow adds what a packet needs on its way through a pass.
func (w *wayfinder) follow(rules iptables.Ruleset, p pass, packet iptables.Packet) {
	some := iptables.Ruleset{Family: rules.Family}
	for _, name := range p.tables {
		some.Tables = append(some.Tables, rules.Table(name))
	}
	packet.Hook = p.hook
	w.pass, w.packet, w.marked, w.steps = p, packet, false, some.Trace(packet).Steps
	source := "source " + p.source.title
	if packet.In == "lo" && p.hook == iptables.Prerouting {
		source = "source lo"
	}
	at, lo := port{w.g.byKey[source], -1}, false
	if at.node == nil { // nothing there decides
		return
	}
	for _, name := range p.tables {
		c := w.g.view.find(name, p.hook)
		if c == nil || len(c.rules) == 0 && !c.drops || name == iptables.NAT && packet.NATDone || len(rules.Table(name).Chains) == 0 {
			continue
		}
		w.need(at, port{w.nodes[c], -1}, anyWay)
		if name == iptables.NAT && packet.State&(iptables.New|iptables.Related) == 0 {
			return // nat sees only the first packet of a connection
		}
		var how result
		how, at, lo = w.chain(c, false)
		if how == finished {
			return
		}
		if how == returned && c.drops {
			w.need(at, port{w.g.byKey["dropped"], -1}, dropped)
			return
		}
	}
	w.end(at, lo)
}

// end needs the edge to where a packet goes that no rule redirects or drops. By lo goes
// what a rule takes only by lo.
func (w *wayfinder) end(at port, lo bool) {
	title, kind := w.pass.end.title, notCaptured
	if w.pass.captures() && lo {
		kind = ownPod
		if w.pass.hook == iptables.Output {
			title = "app"
			if w.g.byKey["source lo"] != nil {
				title = "lo"
			}
		}
	}
	to := port{w.g.byKey["end "+title], -1}
	w.need(at, to, kind)
	if w.packet.Out != "lo" {
		w.leave[need{at, to, kind}] = true
	}
}

func (w *wayfinder) need(from, to port, kind way) {
	n := need{from, to, kind}
	if _, known := w.needs[n]; !known && w.hidden == 0 {
		w.needs[n] = w.packet
	}
}

// A result is how a packet leaves a chain.
type result uint8

const (
	returned result = iota
	accepted
	finished // its way ends there
)

// chain follows the packet through a chain: how it leaves it, from which row, and
// whether a rule that takes it asks for lo.
func (w *wayfinder) chain(c *chain, lo bool) (_ result, exit port, exitLo bool) {
	exitLo = lo
	n := w.nodes[c]
	exit = port{n, len(n.rows) - 1}
	switch {
	case n.kind == othersNode:
		w.hidden++
		defer func() { w.hidden-- }()
	case exit.row < 0 || !n.rows[exit.row].end:
		exit.row = -2 // no edge has it
	}
	for i, r := range c.rules {
		if !w.take(c, i) {
			continue
		}
		at, lo := port{n, -1}, lo || w.asksForLo(r.rule)
		if n.kind == othersNode {
			lo = false // is not known
		} else {
			at.row = w.rows[c][i]
		}
		to := w.g.view.find(c.table, r.target)
		if to == nil {
			if how := w.act(c, r, at); how != nextRule {
				return result(how), at, lo
			}
			continue
		}
		if !n.branches(r) {
			w.need(at, port{w.nodes[to], -1}, anyWay)
		}
		how, from, byLo := w.chain(to, lo)
		_, leaves := r.rule.Target.(iptables.Goto)
		switch next, more := after(n, at.row); {
		case how != returned || leaves:
			return how, from, byLo
		case more:
			w.need(from, next, anyWay)
		default:
			exit, exitLo = from, byLo
		}
	}
	return returned, exit, exitLo
}

// take tells whether a rule takes the packet.
func (w *wayfinder) take(c *chain, i int) bool {
	if len(w.steps) == 0 {
		return false
	}
	s := w.steps[0]
	if s.Table != c.table || s.Chain != c.name || s.Index != i {
		return false
	}
	w.steps = w.steps[1:]
	return !s.Maybe
}

// rowOf returns the row of a node that has a rule.
func rowOf(n *node, r viewRule) int {
	return slices.IndexFunc(n.rows, func(row row) bool {
		if len(n.chains) > 1 {
			return !row.end && row.group.rules[0].kind() == r.kind() && options(row.group.rules[0].condition) == options(r.condition)
		}
		return slices.ContainsFunc(row.group.rules, func(other viewRule) bool { return other.number == r.number })
	})
}

// after returns where a packet goes on in a node that comes back to a row. Rules of a
// row do the same: whether another one takes it again does not matter.
func after(n *node, row int) (_ port, more bool) {
	if len(n.chains) > 1 {
		return port{n, row}, true
	}
	return port{n, row + 1}, row+1 < len(n.rows) && !n.rows[row+1].end
}

// nextRule is the result of a rule after which a packet meets the next one.
const nextRule = 255

// act needs the edge of what a rule does that is no jump.
func (w *wayfinder) act(c *chain, r viewRule, at port) int {
	to, kind := port{}, foreign
	switch t := r.rule.Target.(type) {
	case iptables.Verdict:
		switch {
		case t == iptables.Return:
			return int(returned)
		case t == iptables.Drop:
			to, kind = port{w.g.byKey["dropped"], -1}, dropped
		case w.marked && c.table == iptables.Mangle && w.pass.hook == iptables.Prerouting:
			to, kind = w.port(c, w.g.view.config.InboundPort) // routed to lo by its mark
		default:
			return int(accepted)
		}
	case iptables.Redirect:
		to, kind = w.port(c, t.Port)
	case iptables.TProxy:
		to, kind = w.port(c, t.Port)
	case nil:
		switch r.rule.Foreign.Effect() {
		case iptables.GoesOn:
			return nextRule
		case iptables.Accepts:
			return int(accepted)
		case iptables.Drops:
			to, kind = port{w.g.byKey["dropped"], -1}, dropped
		case iptables.TakesAway:
			to = port{w.g.byKey["target "+shorten(r.kind(), maxLine/2)], -1}
			if to.node == nil {
				to.node = w.g.byKey["others"]
			}
		}
	default:
		set, ok := t.(iptables.SetMark)
		w.marked = w.marked || ok && set.Mark.Value == w.g.view.config.TProxyMark
		return nextRule
	}
	w.need(at, to, kind)
	return int(finished)
}

// port returns what listens on a port that a rule redirects to, and the way there.
func (w *wayfinder) port(c *chain, number uint16) (port, way) {
	var found []port
	for _, n := range w.g.nodes {
		for i, r := range n.rows {
			if n.kind == proxyNode && r.port.port == number {
				found = append(found, port{n, i})
			}
		}
	}
	if len(found) == 0 {
		return port{w.g.byKey[fmt.Sprintf("port %d", number)], -1}, foreign
	}
	at := found[0] // the inbound port, where both have the same number
	if len(found) > 1 && c.name == capture.ChainRedirect {
		at = found[1]
	}
	switch {
	case at.node.rows[at.row].port.landing != path.Inbound:
		return at, outbound
	case w.pass.hook == iptables.Output:
		return at, ownPod
	}
	return at, inbound
}

// asksForLo tells whether a rule takes only packets that go or come by lo.
func (w *wayfinder) asksForLo(r iptables.Rule) bool {
	lo := func(c iptables.Cond[iptables.Interface]) bool { return c.Set && !c.Neg && c.Val == "lo" }
	return lo(r.In) || lo(r.Out) || w.pass.hook == iptables.Output && r.Dst.Set && !r.Dst.Neg && r.Dst.Val.Addr().IsLoopback()
}

func (n need) isMetBy(e edge) bool {
	return e.from == n.from && e.to == n.to && (n.way == anyWay || n.way == e.way)
}

// missing tells which edges the graph has not that a packet takes.
func (w *wayfinder) missing() []string {
	var all []string
	for n, packet := range w.needs {
		if !slices.ContainsFunc(w.g.edges, n.isMetBy) {
			all = append(all, fmt.Sprintf("no edge %s for %+v", edge(n), packet))
		}
	}
	slices.Sort(all)
	return all
}

// differences tells also which edges it has that no packet takes, and which of those to
// an end are to the wrong one.
func (w *wayfinder) differences() []string {
	all := w.missing()
	for n := range w.needs {
		if n.to.node != nil && n.to.node.kind == endNode && w.leave[n] != (n.way == notCaptured) && w.pass.captures() && n.to.node.title != "socket of the pod" {
			all = append(all, fmt.Sprintf("edge %s, packets that leave the pod: %v", edge(n), w.leave[n]))
		}
	}
	for _, e := range w.unproven() {
		all = append(all, fmt.Sprintf("no packet takes the edge %s", e))
	}
	slices.Sort(all)
	return all
}

// unproven returns the edges that no packet takes.
func (w *wayfinder) unproven() []edge {
	return slices.DeleteFunc(slices.Clone(w.g.edges), func(e edge) bool {
		_, taken := w.needs[need(e)]
		_, some := w.needs[need{e.from, e.to, anyWay}]
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
