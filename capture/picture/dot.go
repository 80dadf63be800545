package picture

import (
	"fmt"
	"slices"
	"strings"
)

// A look is how edges of a way are drawn and shown in the legend: their line differs as
// well as their colour.
type look struct {
	line   string // attributes of the edge
	sample string // the line in the legend
	colour string
}

// looks are the looks of each way. Their contrast to white is 4.5 at least.
var looks = [...]look{
	inbound:     {`color="#0550ae"`, "━━━", "#0550ae"},
	outbound:    {`color="#bc4c00", style=dashed`, "╍╍╍", "#bc4c00"},
	ownPod:      {`color="#8250df:white:#8250df"`, "═══", "#8250df"},
	notCaptured: {`color="#57606a", style=dotted`, "┈┈┈", "#57606a"},
	dropped:     {`color="#cf222e", style=bold, arrowhead=tee`, "━━┫", "#cf222e"},
	foreign:     {`color="#4d2d00", style="dashed,bold"`, "╍ ╍", "#4d2d00"},
}

// nodeColours are the border, the head and the body of a node.
var nodeColours = [...][3]string{
	sourceNode:  {"#24292f", "#ffffff", "#ffffff"},
	hookNode:    {"#24292f", "#d0d7de", "#f6f8fa"},
	chainNode:   {"#57606a", "#eaeef2", "#ffffff"},
	foreignNode: {"#9a6700", "#fff8c5", "#ffffff"},
	proxyNode:   {"#0550ae", "#b6e3ff", "#ddf4ff"},
	endNode:     {"#24292f", "#ffffff", "#ffffff"},
	droppedNode: {"#cf222e", "#ffebe9", "#ffebe9"},
	unknownNode: {"#9a6700", "#fff8c5", "#fff8c5"},
	othersNode:  {"#9a6700", "#fff8c5", "#fff8c5"},
}

const (
	dotReason    = 38 // columns of a line
	dotCondition = 42
	dotLines     = 4 // of a text
)

// drawDot returns views as a graph for graphviz, from left to right: where packets come
// from, built-in chains, chains, where packets end up.
func drawDot(views []*view) string {
	var b strings.Builder
	all := graphs(views)
	b.WriteString("digraph rules {\n")
	fmt.Fprintf(&b, "\tgraph [rankdir=LR, splines=true, nodesep=0.25, ranksep=0.6, pad=0.3, bgcolor=white, fontname=\"Helvetica,Arial,sans-serif\", fontsize=12, labelloc=t, labeljust=l, label=%s]\n", dotLabel(all))
	b.WriteString("\tnode [shape=plain, fontname=\"Helvetica,Arial,sans-serif\", fontsize=11]\n")
	b.WriteString("\tedge [arrowsize=0.7]\n")
	for i, g := range slices.Backward(all) { // graphviz puts the last one on top
		indent := "\t"
		if len(all) > 1 {
			indent = "\t\t"
			fmt.Fprintf(&b, "\tsubgraph cluster_%d {\n\t\tcolor=\"#d0d7de\"\n\t\tlabel=<<b>%s</b>>\n", i, dotText(g.view.heading()))
		}
		g.dot(&b, indent)
		if len(all) > 1 {
			b.WriteString("\t}\n")
		}
	}
	b.WriteString("}\n")
	return b.String()
}

// dotLabel returns the title, the notes and the legend.
func dotLabel(all []*graph) string {
	var b strings.Builder
	b.WriteString(`<<table border="0" cellborder="0" cellspacing="0" cellpadding="3">`)
	line := func(html string) {
		fmt.Fprintf(&b, `<tr><td align="left" balign="left">%s</td></tr>`, html)
	}
	used := map[way]bool{}
	for _, g := range all {
		if len(all) == 1 {
			line(`<font point-size="15"><b>` + dotText(g.view.heading()) + `</b></font>`)
		}
		for _, e := range g.edges {
			used[e.way] = true
		}
	}
	if len(all) == 0 {
		line("no rules")
	}
	var legend []string
	for w, l := range looks {
		if used[way(w)] {
			legend = append(legend, fmt.Sprintf(`<font color="%s">%s %s</font>`, l.colour, l.sample, wayNames[w]))
		}
	}
	if len(legend) > 0 {
		line(strings.Join(legend, "&#160;&#160;&#160;&#160;"))
	}
	var notes []string
	for _, g := range all {
		for _, note := range g.notes() {
			if !slices.Contains(notes, note) {
				notes = append(notes, note)
				line(grey(note))
			}
		}
	}
	b.WriteString("</table>>")
	return b.String()
}

// dot writes the nodes and edges of a graph.
func (g *graph) dot(b *strings.Builder, indent string) {
	var sources, ends []string
	for _, n := range g.nodes {
		fmt.Fprintf(b, "%s%s [label=<%s>]\n", indent, n.id, n.html())
		switch n.kind {
		case sourceNode:
			sources = append(sources, n.id)
		case proxyNode, endNode, droppedNode, unknownNode, othersNode:
			ends = append(ends, n.id)
		case hookNode, chainNode, foreignNode:
		}
	}
	if g.clustered { // graphviz 2.43 mirrors the order in a cluster
		slices.Reverse(sources)
	}
	fmt.Fprintf(b, "%s{ rank=same; edge [style=invis]; %s }\n", indent, strings.Join(sources, " -> "))
	fmt.Fprintf(b, "%s{ rank=same; %s }\n", indent, strings.Join(ends, "; "))
	for _, e := range g.edges {
		from, to, more := e.from.dot("e"), e.to.dot("w"), ""
		if slices.Contains([]nodeKind{hookNode, chainNode}, e.to.node.kind) {
			more = ", weight=10" // beside the row that leads there
		}
		if e.to.row >= 0 && e.to.node.kind != proxyNode { // back to a chain further left
			from, to, more = e.to.dot("e"), e.from.dot("w"), ", dir=back"
			if e.from.row >= 0 {
				to = e.from.node.id + fmt.Sprintf(":n%d:w", e.from.row)
			}
		}
		fmt.Fprintf(b, "%s%s -> %s [%s%s]\n", indent, from, to, looks[e.way].line, more)
	}
}

// dot returns a port in the notation of graphviz, with the side of its node.
func (p port) dot(side string) string {
	if p.row < 0 {
		return fmt.Sprintf("%s:head:%s", p.node.id, side)
	}
	return fmt.Sprintf("%s:r%d:%s", p.node.id, p.row, side)
}

// html returns a node as a table: its head, and below a line for each row.
func (n *node) html() string {
	var b strings.Builder
	colours := nodeColours[n.kind]
	style := ` style="rounded"`
	if slices.Contains([]nodeKind{hookNode, chainNode, foreignNode}, n.kind) {
		style = ""
	}
	head := "<b>" + dotText(n.title) + "</b>"
	if n.detail != "" && len(n.rows) == 0 {
		head += "<br/>" + grey(n.detail)
	} else if n.detail != "" {
		head += "&#160;&#160;" + grey(n.detail)
	}
	fmt.Fprintf(&b, `<table border="1" cellborder="0" cellspacing="0" cellpadding="4" color="%s" bgcolor="%s"%s>`, colours[0], colours[2], style)
	fmt.Fprintf(&b, `<tr><td port="head" colspan="2" bgcolor="%s">%s</td></tr>`, colours[1], head)
	for i, r := range n.rows {
		const cell = `border="1" sides="t" color="#d8dee4"`
		if n.kind == proxyNode {
			fmt.Fprintf(&b, `<tr><td port="r%d" colspan="2" %s>%s</td></tr>`, i, cell, r.html())
			continue
		}
		fmt.Fprintf(&b, `<tr><td port="n%d" %s align="right" valign="top">%s</td><td port="r%d" %s align="left" balign="left">%s</td></tr>`, i, cell, grey(r.numbers), i, cell, r.html())
	}
	b.WriteString("</table>")
	return b.String()
}

// html returns the text of a row: its reason, and below it the condition and the action.
func (r row) html() string {
	var parts []string
	if r.reason != "" {
		parts = append(parts, dotText(wrapped(r.reason, dotReason)...))
	}
	if r.condition != "" {
		lines := wrapped(r.condition, dotCondition)
		if last := len(lines) - 1; columns(lines[last])+1+columns(r.action) <= dotCondition {
			lines[last] = strings.TrimSpace(lines[last] + " " + r.action)
		} else {
			lines = append(lines, r.action)
		}
		parts = append(parts, `<font face="Menlo,Consolas,monospace" point-size="9" color="#424a53">`+dotText(lines...)+`</font>`)
	}
	return strings.Join(parts, "<br/>")
}

// wrapped returns a text in lines, the last one shortened where there are too many.
func wrapped(text string, width int) []string {
	var all []string
	for _, l := range wrap(line{{text: text}}, width, 0) {
		if len(all) == dotLines {
			all[dotLines-1] = shorten(all[dotLines-1]+" …", width)
			break
		}
		all = append(all, l.text())
	}
	return all
}

func grey(text string) string {
	if text == "" {
		return ""
	}
	return `<font color="#57606a">` + dotText(text) + `</font>`
}

// dotText returns lines for a label of graphviz in its HTML.
func dotText(lines ...string) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")
	var all []string
	for _, l := range lines {
		all = append(all, escape.Replace(l))
	}
	return strings.Join(all, "<br/>")
}
