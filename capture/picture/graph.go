package picture

import (
	"cmp"
	"fmt"
	"slices"

	"istio-init/capture/path"
	"istio-init/iptables"
)

// A graph is the ways of packets through the chains of a sheet, for programs that
// draw graphs. It has a bounded size, whatever the rules.
type graph struct {
	sheet *sheet
	nodes []*node
	edges []*edge
	ids   map[string]*node
	first int // number of the first node
}

type nodeKind uint8

const (
	sourceNode nodeKind = iota
	hookNode
	chainNode
	landingNode
	lostNode
)

// A node is a place of a packet. Its text has several lines.
type node struct {
	id    string
	kind  nodeKind
	lines []string
}

// An edge is how packets get from a node to another, with a line for each fold of
// rules.
type edge struct {
	from, to *node
	way      way
	lines    []string
	more     int  // rules that have no line
	back     bool // to where the ways begin
}

const (
	mostChains = 40 // of a graph
	mostLines  = 8  // of an edge or node
	mostWords  = 64 // columns of a line
)

// node returns the node of a key, and makes it when there is none.
func (g *graph) node(key string, kind nodeKind, lines ...string) (_ *node, made bool) {
	if n := g.ids[key]; n != nil {
		return n, false
	}
	n := &node{id: fmt.Sprintf("n%d", g.first+len(g.nodes)), kind: kind, lines: lines}
	g.nodes, g.ids[key] = append(g.nodes, n), n
	return n, true
}

// edge returns the edge between nodes, and makes it when there is none.
func (g *graph) edge(from, to *node, w way) *edge {
	i := slices.IndexFunc(g.edges, func(e *edge) bool { return e.from == from && e.to == to && e.way == w })
	if i < 0 {
		i = len(g.edges)
		g.edges = append(g.edges, &edge{from: from, to: to, way: w})
	}
	return g.edges[i]
}

// add gives an edge the line of a fold.
func (e *edge) add(f fold) {
	if len(e.lines) >= mostLines {
		e.more += len(f.rows)
		return
	}
	e.lines = append(e.lines, f.label())
}

// label is a fold in one line.
func (f fold) label() string {
	text := f.why()
	if r := f.rows[0]; r.reason == "" && !r.others {
		text = orAll(r.when)
	}
	return shorten(f.numbers()+"  "+text, mostWords)
}

// text are the lines of an edge, and how many are not there.
func (e *edge) text() []string {
	if e.more > 0 {
		return append(e.lines[:len(e.lines):len(e.lines)], fmt.Sprintf("and %d more", e.more))
	}
	return e.lines
}

// graphs draws sheets as graphs, no two of which have a node of the same name.
func graphs(sheets []*sheet) []*graph {
	var all []*graph
	n := 0
	for _, s := range sheets {
		g := &graph{sheet: s, ids: map[string]*node{}, first: n}
		g.side(false, "from outside", []string{iptables.Prerouting, input})
		g.side(true, "from the app, the proxy, the agent", []string{iptables.Output, postrouting})
		if entry := g.ids["entry false"]; entry != nil && entry.kind == hookNode {
			direct, _ := g.land(end{}, true)
			e := g.edge(direct, entry, selfCall)
			e.lines, e.back = []string{"by lo, back in"}, true
		}
		g.forwarded()
		all, n = append(all, g), n+len(g.nodes)
	}
	return all
}

// A stage is a built-in chain and the node that what it leaves alone goes to.
type stage struct {
	*chain
	node, next *node
	back       *node // that a chain returns to: more of ours are called there; nil: to none
	out        bool
}

// side draws the hooks that packets of one side meet.
func (g *graph) side(out bool, from string, names []string) {
	source, _ := g.node("source "+from, sourceNode, from)
	last, _ := g.land(end{}, out)
	stages := g.stages(names, out)
	g.ids[fmt.Sprint("entry ", out)] = last
	before, lines := source, []string(nil)
	for i := range stages {
		st := &stages[i]
		if st.next = last; i+1 < len(stages) {
			st.next = stages[i+1].node
		}
		if i == 0 {
			g.ids[fmt.Sprint("entry ", out)] = st.node
		}
		g.edge(before, st.node, through(out)).lines = lines
		g.chain(st.chain, *st)
		before, lines = st.node, []string{"all else"}
	}
	if n := len(stages); n == 0 || !stages[n-1].drops {
		e := g.edge(before, last, leftAway)
		e.lines = append(e.lines, "all else")
	}
}

// through is how packets are drawn that no rule has taken yet.
func through(out bool) way {
	if out {
		return outgoing
	}
	return incoming
}

// stages are the built-in chains with rules of hooks, in their order.
func (g *graph) stages(names []string, out bool) []stage {
	var all []stage
	for _, h := range hooks {
		for _, table := range h.tables {
			c := g.sheet.find(table, h.name)
			if c == nil || len(c.rows) == 0 && !c.drops || !slices.Contains(names, h.name) {
				continue
			}
			n, _ := g.node("chain "+table+" "+h.name, hookNode, h.name, "table "+table)
			all = append(all, stage{c, n, nil, nil, out})
		}
	}
	return all
}

// land returns the node of a landing.
func (g *graph) land(e end, out bool) (*node, way) {
	kind, w := landingNode, wayTo(e.landing, out)
	if w == lostWay {
		kind = lostNode
	}
	n, _ := g.node("end "+e.name(out), kind, e.name(out))
	return n, w
}

// forwarded draws what only passes through, where rules look at it.
func (g *graph) forwarded() {
	stages := g.stages([]string{forward}, true)
	for i := range stages {
		before, _ := g.node("source from outside", sourceNode, "from outside")
		if i > 0 {
			before = stages[i-1].node
		}
		stages[i].next, _ = g.land(end{}, true)
		if i+1 < len(stages) {
			stages[i].next = stages[i+1].node
		}
		g.edge(before, stages[i].node, leftAway).lines = []string{"not for the pod"}
		g.chain(stages[i].chain, stages[i])
		if !stages[i].drops {
			e := g.edge(stages[i].node, stages[i].next, leftAway)
			e.lines = append(e.lines, "all else")
		}
	}
}

// chain draws what the rules of a chain do with packets.
func (g *graph) chain(c *chain, st stage) {
	at, _ := g.node("chain "+c.table+" "+c.name, chainNode, visible(c.name), "table "+c.table)
	for _, f := range folded(c.rows) {
		r := f.rows[0]
		e, lands := g.sheet.end(c, r)
		to := g.sheet.find(c.table, r.goes)
		switch {
		case r.others || !lands && (to == nil || !to.own):
			at.note(f)
		case e.landing == path.Direct && lands && r.rule.Target == iptables.Return && st.back != nil:
			g.edge(at, st.back, leftAway).add(f)
		case lands && wayTo(e.landing, st.out) == leftAway:
			g.edge(at, st.next, leftAway).add(f)
		case lands:
			n, w := g.land(e, st.out)
			g.edge(at, n, w).add(f)
		default:
			under := st
			if under.back = nil; c.builtin && callsLater(c, r) || !c.builtin && r.number < len(c.rows) {
				under.back = at
			}
			g.jump(at, to, f, under)
		}
	}
	if n := len(c.rows); !c.builtin && (n == 0 || !catchesAll(c.rows[n-1])) {
		e := g.edge(at, cmp.Or(st.back, st.next), leftAway)
		e.lines = append(e.lines, "all else")
	}
	if c.drops {
		n, w := g.land(end{landing: path.Dropped}, st.out)
		e := g.edge(at, n, w)
		e.lines = append(e.lines, "all else: the policy")
	}
}

// callsLater tells whether a chain calls one of ours behind a rule.
func callsLater(c *chain, r row) bool {
	return slices.ContainsFunc(c.rows[r.number:], func(later row) bool { return iptables.Own(later.goes) && later.goes != r.goes })
}

// note gives a node the line of rules after which packets go on.
func (n *node) note(f fold) {
	switch {
	case len(n.lines) < mostLines:
		text := f.label()
		if !f.rows[0].others {
			text += " → " + shorten(f.rows[0].then, mostWords/2)
		}
		n.lines = append(n.lines, text)
	case len(n.lines) == mostLines:
		n.lines = append(n.lines, "…")
	}
}

// jump draws a jump, and the chain when it is met for the first time.
func (g *graph) jump(from *node, to *chain, f fold, st stage) {
	w := through(st.out)
	if l := g.sheet.leads(to); l != 0 {
		w = wayTo(l, st.out)
	}
	key := "chain " + to.table + " " + to.name
	if len(g.nodes) >= mostChains && g.ids[key] == nil {
		n, _ := g.node("more chains", chainNode, "more chains")
		g.edge(from, n, w).add(f)
		return
	}
	n, made := g.node(key, chainNode, visible(to.name), "table "+to.table)
	g.edge(from, n, w).add(f)
	if made {
		g.chain(to, st)
	}
}
