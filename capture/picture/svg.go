package picture

import (
	"fmt"
	"strconv"
	"strings"
)

// css is how a drawing looks, on light and on dark backgrounds. Ways are told by
// the pattern of their lines as well as by their colours.
const css = `
.bg{fill:#fff}.pod{fill:#f6f8fa;stroke:#afb8c1}.hook{fill:#eaeef2;stroke:#8c959f}.card{fill:#fff;stroke:#afb8c1}.head{fill:#eaeef2}.rule{fill:#d8dee4}
.place{fill:#fff;stroke:#57606a;stroke-width:1.5}.proxy{fill:#ddf4ff;stroke:#0969da;stroke-width:1.5}.chip{fill:#57606a}.idle{fill:none;stroke:#afb8c1}
text{fill:#1f2328;font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;white-space:pre}
.b{font-weight:600}.m{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.faint{fill:#59636e}.lit{fill:#fff}
.w{fill:none;stroke-width:1.8}.in{stroke:#0969da}.out{stroke:#bc4c00;stroke-dasharray:9 4}.self{stroke:#8250df;stroke-dasharray:9 3 2 3}
.left{stroke:#6e7781;stroke-dasharray:2 3}.lost{stroke:#cf222e;stroke-dasharray:5 3}
.in-a{fill:#0969da}.out-a{fill:#bc4c00}.self-a{fill:#8250df}.left-a{fill:#6e7781}.lost-a{fill:#cf222e}
@media (prefers-color-scheme:dark){
.bg{fill:#0d1117}.pod{fill:#151b23;stroke:#3d444d}.hook{fill:#262c36;stroke:#656c76}.card{fill:#0d1117;stroke:#3d444d}.head{fill:#212830}.rule{fill:#2a313c}
.place{fill:#0d1117;stroke:#9198a1}.proxy{fill:#121d2f;stroke:#4493f8}.chip{fill:#9198a1}.idle{stroke:#3d444d}
text{fill:#f0f6fc}.faint{fill:#9198a1}.lit{fill:#0d1117}
.in{stroke:#4493f8}.out{stroke:#f0883e}.self{stroke:#ab7df8}.left{stroke:#9198a1}.lost{stroke:#f85149}
.in-a{fill:#4493f8}.out-a{fill:#f0883e}.self-a{fill:#ab7df8}.left-a{fill:#9198a1}.lost-a{fill:#f85149}
}
`

// wayClasses are the classes of wires; with "-a" behind, of their arrows.
var wayClasses = [...]string{incoming: "in", outgoing: "out", selfCall: "self", leftAway: "left", lostWay: "lost"}

var fontClasses = [...]string{sans: "", bold: "b", mono: "m", monoBold: "m b"}

// xmlText escapes what XML reads.
var xmlText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// num is a coordinate to a tenth of a pixel.
func num(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// svg is the text of a drawing.
func (c *canvas) svg(title, desc string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %s %s\" width=\"%[1]s\" height=\"%[2]s\" role=\"img\">\n", num(c.w), num(c.h))
	fmt.Fprintf(&b, "<title>%s</title>\n<desc>%s</desc>\n<style>%s</style>\n", xmlText.Replace(title), xmlText.Replace(desc), css)
	fmt.Fprintf(&b, "<rect class=\"bg\" width=\"%s\" height=\"%s\" rx=\"8\"/>\n", num(c.w), num(c.h))
	for _, r := range c.boxes {
		radius := 4.0
		if r.class == "rule" || r.class == "head" {
			radius = 0
		}
		fmt.Fprintf(&b, "<rect class=\"%s\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" rx=\"%s\"/>\n", r.class, num(r.x), num(r.y), num(r.w), num(r.h), num(radius))
	}
	for _, w := range c.wires {
		w.svg(&b)
	}
	for _, t := range c.texts {
		class := strings.TrimSpace(fontClasses[t.font] + " " + t.class)
		if class != "" {
			class = ` class="` + class + `"`
		}
		fmt.Fprintf(&b, "<text%s x=\"%s\" y=\"%s\" font-size=\"%s\">%s</text>\n", class, num(t.x), num(t.y), num(t.size), xmlText.Replace(t.text))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// svg draws a wire, and the arrow or the dot at its end.
func (w wire) svg(b *strings.Builder) {
	class := wayClasses[w.way]
	fmt.Fprintf(b, "<path class=\"w %s\" d=\"M", class)
	for i, p := range w.points {
		if i > 0 {
			b.WriteString(" L")
		}
		b.WriteString(num(p.x) + " " + num(p.y))
	}
	b.WriteString("\"/>\n")
	end := w.points[len(w.points)-1]
	if w.dot {
		fmt.Fprintf(b, "<circle class=\"%s-a\" cx=\"%s\" cy=\"%s\" r=\"2.6\"/>\n", class, num(end.x), num(end.y))
	}
	if !w.arrow || len(w.points) < 2 {
		return
	}
	before := w.points[len(w.points)-2]
	dx, dy := sign(end.x-before.x), sign(end.y-before.y)
	back := point{end.x - 8*dx, end.y - 8*dy}
	fmt.Fprintf(b, "<path class=\"%s-a\" d=\"M%s %s L%s %s L%s %s Z\"/>\n", class, num(end.x), num(end.y),
		num(back.x-4*dy), num(back.y+4*dx), num(back.x+4*dy), num(back.y-4*dx))
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}
