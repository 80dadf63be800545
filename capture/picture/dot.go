package picture

import (
	"fmt"
	"strings"
)

// dotNodes and dotWays are how nodes and edges look to Graphviz. An edge is told
// by its line as well as by its colour.
var (
	dotNodes = [...]string{
		sourceNode:  `shape=plaintext, fontname="Helvetica-Bold"`,
		hookNode:    `shape=box, style="filled,bold", fillcolor="#eef2f6", color="#57606a"`,
		chainNode:   `shape=box, style="filled,rounded", fillcolor="#ffffff", color="#57606a"`,
		landingNode: `shape=box, style="filled", fillcolor="#ddf4ff", color="#0550ae"`,
		lostNode:    `shape=octagon, style="filled", fillcolor="#ffebe9", color="#a40e26"`,
	}
	dotWays = [...]string{
		incoming: `color="#0550ae", style=solid`,
		outgoing: `color="#953800", style=dashed`,
		selfCall: `color="#6639ba", style="dashed,bold"`,
		leftAway: `color="#57606a", style=dotted`,
		lostWay:  `color="#a40e26", style=dotted`,
	}
)

// drawDot draws sheets for Graphviz.
func drawDot(sheets []*sheet) string {
	var b strings.Builder
	b.WriteString("digraph rules {\n\tbgcolor=\"white\"\n\tfontname=\"Helvetica\"\n\tfontsize=12\n\tranksep=0.7\n\tnode [fontname=\"Helvetica\", fontsize=11]\n\tedge [fontname=\"Helvetica\", fontsize=10]\n")
	for i, g := range graphs(sheets) {
		fmt.Fprintf(&b, "\tsubgraph cluster_%d {\n\t\tlabel=%s\n\t\tcolor=\"white\"\n", i, dotText([]string{g.sheet.title()}, `\n`))
		for _, n := range g.nodes {
			fmt.Fprintf(&b, "\t\t%s [label=%s, %s]\n", n.id, dotText(n.lines, `\n`), dotNodes[n.kind])
		}
		for _, e := range g.edges {
			look := dotWays[e.way]
			if e.back {
				look += ", constraint=false"
			}
			fmt.Fprintf(&b, "\t\t%s -> %s [label=%s, %s]\n", e.from.id, e.to.id, dotText(e.text(), `\l`), look)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// dotText is a quoted string of Graphviz, whose lines end with one of its breaks:
// it reads escapes and the entities of HTML in them.
func dotText(lines []string, end string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;")
	var b strings.Builder
	for i, l := range lines {
		if end == `\l` {
			b.WriteByte(' ') // off the line
		}
		b.WriteString(escape.Replace(l))
		if i+1 < len(lines) || end == `\l` {
			b.WriteString(end)
		}
	}
	return `"` + b.String() + `"`
}
