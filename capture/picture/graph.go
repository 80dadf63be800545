package picture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio-init/capture/path"
	"istio-init/iptables"
)

// A graph has the ways of packets through the chains of a view. Its size is bounded,
// whatever the rules.
type graph struct {
	view      *view
	nodes     []*node
	edges     []edge
	byKey     map[string]*node
	seen      map[visit]bool
	id        string           // first letter of the ids of its nodes
	count     map[nodeKind]int // of its nodes
	clustered bool             // one of several in a picture
}

// A node is where a packet comes from, a chain, or where it ends up.
type node struct {
	id            string
	kind          nodeKind
	title, detail string
	rows          []row
	chains        []*chain // more than one for a long list and its branches
}

type nodeKind uint8

const (
	sourceNode  nodeKind = iota
	hookNode             // a built-in chain
	chainNode            // a chain of a mesh
	foreignNode          // any other chain
	proxyNode            // the proxy or the agent; its rows are their ports
	endNode              // where a packet goes that no rule redirects
	droppedNode
	unknownNode // where a foreign rule sends packets
	othersNode  // chains and targets that are not shown
)

// A port is a node or one of its rows: -1 is the node.
type port struct {
	node *node
	row  int
}

// An edge is a way from a row or a source to a node, or to a row at which a packet
// goes on.
type edge struct {
	from, to port
	way      way
}

// A way is the kind of traffic that an edge is for.
type way uint8

const (
	inbound     way = iota // from outside, not decided or to the proxy
	outbound               // from the pod, not decided or to the proxy
	ownPod                 // from the pod to itself
	notCaptured            // not redirected
	dropped
	foreign // as a foreign rule has it
)

var wayNames = [...]string{"inbound", "outbound", "own pod", "not captured", "dropped", "foreign rule"}

// The bounds of a graph. Rows beyond become one, as do chains and targets.
const (
	maxRows        = 20
	maxForeignRows = 8
	lastRows       = 3 // of the rows of a chain, always shown
	maxOuts        = 6 // of a row
	maxLine        = 64
)

// maxNodes is how many nodes of a kind there may be besides the one for the others; 0: any number.
var maxNodes = [othersNode + 1]int{chainNode: 24, foreignNode: 24, unknownNode: 8}

// graphs returns a graph for each view; no two have a node of the same id.
func graphs(views []*view) []*graph {
	var all []*graph
	for i, v := range views {
		g := &graph{view: v, byKey: map[string]*node{}, seen: map[visit]bool{}, id: string(rune('a' + i)), count: map[nodeKind]int{}, clustered: len(views) > 1}
		for _, p := range passes {
			g.pass(p)
		}
		all = append(all, g)
	}
	return all
}

// notes tells what the graph does not show.
func (g *graph) notes() []string {
	var unused []string
	for _, c := range g.view.chains {
		shown := slices.ContainsFunc(g.nodes, func(n *node) bool { return slices.Contains(n.chains, c) })
		if !shown && !c.builtin && (c.own || len(c.rules) > 0) && g.byKey["others"] == nil {
			unused = append(unused, visible(c.table+" "+c.name))
		}
	}
	if len(unused) == 0 {
		return nil
	}
	return []string{shorten("not shown, since no rule jumps there: "+strings.Join(unused, ", "), 2*maxLine)}
}

// node returns the node of a key. A new one is a copy of fill.
func (g *graph) node(key string, fill node) *node {
	if n := g.byKey[key]; n != nil {
		return n
	}
	if most := maxNodes[fill.kind]; most > 0 && g.count[fill.kind] == most {
		return g.others()
	}
	g.count[fill.kind]++
	fill.id = fmt.Sprintf("%s%d", g.id, len(g.nodes))
	g.nodes, g.byKey[key] = append(g.nodes, &fill), &fill
	return &fill
}

// others returns the node that stands for chains and targets without one.
func (g *graph) others() *node {
	return g.node("others", node{kind: othersNode, title: "others", detail: "chains and targets that are not shown"})
}

// edge adds an edge that is not there yet.
func (g *graph) edge(from, to port, w way) {
	if e := (edge{from, to, w}); !slices.Contains(g.edges, e) {
		g.edges = append(g.edges, e)
	}
}

// proxy returns the port of the proxy or the agent, or the node of another port.
func (g *graph) proxy(e end) port {
	name := "proxy"
	switch e.landing {
	case path.Inbound, path.Outbound:
	case path.DNS:
		name = "agent"
	default:
		key := fmt.Sprintf("port %d", e.port)
		return port{g.node(key, node{kind: unknownNode, title: key, detail: "of the pod"}), -1}
	}
	n := g.node(name, node{kind: proxyNode, title: name})
	if n.rows == nil {
		n.rows, n.detail = g.ports(name)
	}
	i := slices.IndexFunc(n.rows, func(r row) bool { return r.port == e })
	return port{n, i}
}

// ports returns the ports of the proxy or the agent that rules redirect to.
func (g *graph) ports(name string) (rows []row, detail string) {
	names := map[path.Outcome]string{path.Inbound: "inbound port", path.Outbound: "outbound port", path.DNS: "DNS port"}
	for _, c := range g.view.chains {
		for _, r := range c.rules {
			e, ok := g.view.end(c, r)
			listens := ok && names[e.landing] != "" && (e.landing == path.DNS) == (name == "agent")
			if listens && len(rows) < maxRows && !slices.ContainsFunc(rows, func(r row) bool { return r.port == e }) {
				rows = append(rows, row{reason: fmt.Sprintf("%s %d", names[e.landing], e.port), port: e})
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(-cmp.Compare(a.port.landing, b.port.landing), cmp.Compare(a.port.port, b.port.port))
	})
	var ids []string
	for _, list := range [...]struct {
		name string
		ids  []iptables.IDRange
	}{{"uid", g.view.config.ProxyUIDs}, {"gid", g.view.config.ProxyGIDs}} {
		for _, id := range list.ids {
			ids = append(ids, list.name+" "+id.String())
		}
	}
	if name == "proxy" {
		detail = shorten(strings.Join(ids, ", "), maxLine/2)
	}
	return rows, detail
}
