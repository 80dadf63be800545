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
	landingNode: {"(", ")"},
	lostNode:    {"{{", "}}"},
}

// mermaidWays are the arrows of edges, and mermaidStyles how their lines look.
var (
	mermaidWays   = [...]string{incoming: "-->", outgoing: "-->", selfCall: "==>", leftAway: "-.->", lostWay: "--x"}
	mermaidStyles = [...]string{
		incoming: "stroke:#0969da", outgoing: "stroke:#bc4c00,stroke-dasharray:8 4", selfCall: "stroke:#8250df,stroke-dasharray:8 3 2 3",
		leftAway: "stroke:#6e7781", lostWay: "stroke:#cf222e",
	}
)

// drawMermaid draws sheets as a flowchart of Mermaid.
func drawMermaid(sheets []*sheet) string {
	var b strings.Builder
	b.WriteString("flowchart TB\n")
	var links [len(mermaidStyles)][]string // numbers of edges
	n := 0
	for i, g := range graphs(sheets) {
		fmt.Fprintf(&b, "  subgraph s%d[\"%s\"]\n", i, mermaidText([]string{g.sheet.title()}))
		for _, node := range g.nodes {
			shape := mermaidNodes[node.kind]
			fmt.Fprintf(&b, "    %s%s\"%s\"%s\n", node.id, shape[0], mermaidText(node.lines), shape[1])
		}
		for _, e := range g.edges {
			label := ""
			if text := e.text(); len(text) > 0 {
				label = `|"` + mermaidText(text) + `"|`
			}
			fmt.Fprintf(&b, "    %s %s%s %s\n", e.from.id, mermaidWays[e.way], label, e.to.id)
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

// mermaidText is a text between quotes. What Mermaid or the HTML that it makes
// could take for more than text stands as the number of its character.
func mermaidText(lines []string) string {
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
