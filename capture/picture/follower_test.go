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

// A follower derives from traced packets the edges that a graph has to have.
// iptables.Trace tells what happens to a packet; the graph only tells which row has a
// rule.
type follower struct {
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

func newFollower(g *graph) *follower {
	f := &follower{g: g, needs: map[need]iptables.Packet{}, leave: map[need]bool{}, nodes: map[*chain]*node{}, rows: map[*chain][]int{}}
	for _, c := range g.view.chains {
		f.nodes[c] = g.byKey["others"]
	}
	for _, n := range g.nodes {
		for _, c := range n.chains {
			f.nodes[c] = n
			for _, r := range c.rules {
				f.rows[c] = append(f.rows[c], rowOf(n, r))
			}
		}
	}
	return f
}

// follow adds what a packet needs on its way through a pass.
func (f *follower) follow(rules iptables.Ruleset, p pass, packet iptables.Packet) {
	some := iptables.Ruleset{Family: rules.Family}
	for _, name := range p.tables() {
		some.Tables = append(some.Tables, rules.Table(name))
	}
	packet.Hook = p.hook
	f.pass, f.packet, f.marked, f.steps = p, packet, false, some.Trace(packet).Steps
	source := "source " + p.source.title
	if packet.In == "lo" && p.hook == iptables.Prerouting {
		source = "source lo"
	}
	at, lo := port{f.g.byKey[source], -1}, false
	if at.node == nil { // nothing there decides
		return
	}
	for _, name := range p.tables() {
		c := f.g.view.find(name, p.hook)
		if c == nil || len(c.rules) == 0 && !c.drops || name == iptables.NAT && packet.NATDone || len(rules.Table(name).Chains) == 0 {
			continue
		}
		f.need(at, port{f.nodes[c], -1}, anyWay)
		if name == iptables.NAT && packet.State&(iptables.New|iptables.Related) == 0 {
			return // nat sees only the first packet of a connection
		}
		var how result
		how, at, lo = f.chain(c, false)
		if how == finished {
			return
		}
		if how == returned && c.drops {
			f.need(at, port{f.g.byKey["dropped"], -1}, dropped)
			return
		}
	}
	f.end(at, lo)
}

// end needs the edge to where a packet goes that no rule redirects or drops. By lo goes
// what a rule takes only by lo.
func (f *follower) end(at port, lo bool) {
	title, kind := f.pass.end.title, notCaptured
	if f.pass.captures() && lo {
		kind = ownPod
		if f.pass.hook == iptables.Output {
			title = "app"
			if f.g.byKey["source lo"] != nil {
				title = "lo"
			}
		}
	}
	to := port{f.g.byKey["end "+title], -1}
	f.need(at, to, kind)
	if f.packet.Out != "lo" {
		f.leave[need{at, to, kind}] = true
	}
}

func (f *follower) need(from, to port, kind way) {
	n := need{from, to, kind}
	if _, known := f.needs[n]; !known && f.hidden == 0 {
		f.needs[n] = f.packet
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
func (f *follower) chain(c *chain, lo bool) (_ result, exit port, exitLo bool) {
	exitLo = lo
	n := f.nodes[c]
	exit = port{n, len(n.rows) - 1}
	switch {
	case n.kind == othersNode:
		f.hidden++
		defer func() { f.hidden-- }()
	case exit.row < 0 || !n.rows[exit.row].end:
		exit.row = -2 // no edge has it
	}
	for i, r := range c.rules {
		if !f.take(c, i) {
			continue
		}
		at, lo := port{n, -1}, lo || f.asksForLo(r.rule)
		if n.kind == othersNode {
			lo = false // is not known
		} else {
			at.row = f.rows[c][i]
		}
		to := f.g.view.find(c.table, r.target)
		if to == nil {
			if how := f.act(c, r, at); how != nextRule {
				return result(how), at, lo
			}
			continue
		}
		if !n.branches(r) {
			f.need(at, port{f.nodes[to], -1}, anyWay)
		}
		how, from, byLo := f.chain(to, lo)
		_, leaves := r.rule.Target.(iptables.Goto)
		switch next, more := after(n, at.row); {
		case how != returned || leaves:
			return how, from, byLo
		case more:
			f.need(from, next, anyWay)
		default:
			exit, exitLo = from, byLo
		}
	}
	return returned, exit, exitLo
}

// take reports whether a rule takes the packet.
func (f *follower) take(c *chain, i int) bool {
	if len(f.steps) == 0 {
		return false
	}
	s := f.steps[0]
	if s.Table != c.table || s.Chain != c.name || s.Index != i {
		return false
	}
	f.steps = f.steps[1:]
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
func (f *follower) act(c *chain, r viewRule, at port) int {
	to, kind := port{}, foreign
	switch t := r.rule.Target.(type) {
	case iptables.Verdict:
		switch {
		case t == iptables.Return:
			return int(returned)
		case t == iptables.Drop:
			to, kind = port{f.g.byKey["dropped"], -1}, dropped
		case f.marked && c.table == iptables.Mangle && f.pass.hook == iptables.Prerouting:
			to, kind = f.port(c, f.g.view.config.InboundPort) // routed to lo by its mark
		default:
			return int(accepted)
		}
	case iptables.Redirect:
		to, kind = f.port(c, t.Port)
	case iptables.TProxy:
		to, kind = f.port(c, t.Port)
	case nil:
		switch r.rule.Foreign.Effect() {
		case iptables.GoesOn:
			return nextRule
		case iptables.Accepts:
			return int(accepted)
		case iptables.Drops:
			to, kind = port{f.g.byKey["dropped"], -1}, dropped
		case iptables.TakesAway:
			to = port{f.g.byKey["target "+shorten(r.kind(), maxLine/2)], -1}
			if to.node == nil {
				to.node = f.g.byKey["others"]
			}
		}
	default:
		set, ok := t.(iptables.SetMark)
		f.marked = f.marked || ok && set.Mark.Value == f.g.view.config.TProxyMark
		return nextRule
	}
	f.need(at, to, kind)
	return int(finished)
}

// port returns what listens on a port that a rule redirects to, and the way there.
func (f *follower) port(c *chain, number uint16) (port, way) {
	var found []port
	for _, n := range f.g.nodes {
		for i, r := range n.rows {
			if n.kind == proxyNode && r.port.port == number {
				found = append(found, port{n, i})
			}
		}
	}
	if len(found) == 0 {
		return port{f.g.byKey[fmt.Sprintf("port %d", number)], -1}, foreign
	}
	at := found[0] // the inbound port, where both have the same number
	if len(found) > 1 && c.name == capture.ChainRedirect {
		at = found[1]
	}
	switch {
	case at.node.rows[at.row].port.landing != path.Inbound:
		return at, outbound
	case f.pass.hook == iptables.Output:
		return at, ownPod
	}
	return at, inbound
}

// asksForLo reports whether a rule takes only packets that go or come by lo.
func (f *follower) asksForLo(r iptables.Rule) bool {
	lo := func(c iptables.Cond[iptables.Interface]) bool { return c.Set && !c.Neg && c.Val == "lo" }
	return lo(r.In) || lo(r.Out) || f.pass.hook == iptables.Output && r.Dst.Set && !r.Dst.Neg && r.Dst.Val.Addr().IsLoopback()
}
