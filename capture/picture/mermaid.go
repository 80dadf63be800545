package picture

import (
	"fmt"
	"strings"
)

// mermaidNodes are the brackets of nodes, by which they have their shapes.
var mermaidNodes = [...][2]string{
	sourceNode:  {"([", "])"},
	hookNode:    {"[[", "]]"},
	chainNode:   {"[", "]"},
	foreignNode: {"[", "]"},
	proxyNode:   {"(", ")"},
	endNode:     {"([", "])"},
	droppedNode: {"{{", "}}"},
	unknownNode: {"{{", "}}"},
	othersNode:  {"{{", "}}"},
}

// mermaidWays are the arrows of edges, and mermaidStyles how their lines look.
var (
	mermaidWays   = [...]string{inbound: "-->", outbound: "-->", ownPod: "==>", notCaptured: "-.->", dropped: "--x", foreign: "-->"}
	mermaidStyles = [...]string{
		inbound: "stroke:#0550ae", outbound: "stroke:#bc4c00,stroke-dasharray:8 4", ownPod: "stroke:#8250df",
		notCaptured: "stroke:#57606a", dropped: "stroke:#cf222e", foreign: "stroke:#4d2d00,stroke-dasharray:8 3 2 3",
	}
)

// mermaidRows is how many rows of a node are shown: Mermaid draws a text of 50,000
// characters at most.
const mermaidRows = 12

// drawMermaid returns views as a flowchart of Mermaid. An edge has the numbers of the
// rules it is for.
func drawMermaid(views []*view) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	var links [len(mermaidStyles)][]string // numbers of edges
	n := 0
	for i, g := range graphs(views) {
		fmt.Fprintf(&b, "  subgraph s%d[\"%s\"]\n", i, mermaidText(g.view.heading()))
		for _, node := range g.nodes {
			shape := mermaidNodes[node.kind]
			fmt.Fprintf(&b, "    %s%s\"%s\"%s\n", node.id, shape[0], mermaidText(node.lines()...), shape[1])
		}
		for _, e := range g.joined() {
			label := ""
			if e.label != "" {
				label = `|"` + mermaidText(e.label) + `"|`
			}
			fmt.Fprintf(&b, "    %s %s%s %s\n", e.from.node.id, mermaidWays[e.way], label, e.to.node.id)
			links[e.way] = append(links[e.way], fmt.Sprint(n))
			n++
		}
		b.WriteString("  end\n")
	}
	for w, style := range mermaidStyles {
		if len(links[w]) > 0 {
			fmt.Fprintf(&b, "  linkStyle %s %s\n", strings.Join(links[w], ","), style)
		}
	}
	return b.String()
}

// lines returns the texts of a node.
func (n *node) lines() []string {
	all := []string{n.title}
	if n.detail != "" {
		all = append(all, n.detail)
	}
	for i, r := range n.rows {
		if i == mermaidRows && len(n.rows) > mermaidRows+1 {
			return append(all, fmt.Sprintf("and %d more", len(n.rows)-i))
		}
		text := r.reason
		if text == "" {
			text = strings.TrimSpace(r.condition + " " + r.action)
		}
		all = append(all, shorten(strings.TrimSpace(r.numbers+"  "+text), maxLine))
	}
	return all
}

// A labelled edge is those of all rows from one node to another, with the numbers of
// their rules.
type labelled struct {
	edge
	label string
}

// joined returns the edges of a graph as edges between nodes.
func (g *graph) joined() []*labelled {
	var all []*labelled
	byNodes := map[edge]*labelled{}
	for _, e := range g.edges {
		key := edge{port{e.from.node, -1}, port{e.to.node, -1}, e.way}
		joined := byNodes[key]
		if joined == nil {
			joined = &labelled{edge: key}
			byNodes[key], all = joined, append(all, joined)
		}
		label := ""
		if e.from.row >= 0 {
			if r := e.from.node.rows[e.from.row]; r.numbers != "" {
				label = r.numbers
			} else {
				label = r.reason
			}
		}
		if joined.label != "" && label != "" {
			label = joined.label + ", " + label
		}
		joined.label = shorten(label, maxLine)
	}
	return all
}

// mermaidText returns lines between quotes. What Mermaid or the HTML that it makes
// could take for more than text becomes the number of its character.
func mermaidText(lines ...string) string {
	var b strings.Builder
	for i, l := range lines {
		if i > 0 {
			b.WriteString("<br>")
		}
		for _, r := range l {
			if strings.ContainsRune("\"#&<>`\\|;{}[]()*_~$%", r) {
				fmt.Fprintf(&b, "#%d;", r)
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}
