package picture

import "slices"

// A canvas is what a drawing is made of: boxes, the wires between them, and texts
// on top, in pixels.
type canvas struct {
	w, h  float64
	boxes []box
	wires []wire
	texts []label
}

// A box is a rectangle; its class says how it looks.
type box struct {
	x, y, w, h float64
	class      string
}

func (b box) right() float64  { return b.x + b.w }
func (b box) bottom() float64 { return b.y + b.h }

// A label is a line of text with its left end, and the box that it has to stay in.
type label struct {
	x, y  float64 // of the base line
	size  float64
	font  font
	class string // its colour; "": that of texts
	text  string
	in    box
}

// A font is how letters look, and by that how wide they may be.
type font uint8

const (
	sans font = iota
	bold
	mono
	monoBold
)

// widest is how many ems a column takes at the most, on average, in the fonts that
// viewers have.
var widest = [...]float64{sans: 0.6, bold: 0.65, mono: 0.615, monoBold: 0.615}

// textWidth is how wide a text is at the most.
func textWidth(text string, size float64, f font) float64 {
	return float64(columns(text)) * size * widest[f]
}

// lineOf is how many columns fit.
func lineOf(width, size float64, f font) int { return max(4, int(width/(size*widest[f]))) }

func (c *canvas) box(x, y, w, h float64, class string) box {
	b := box{x, y, w, h, class}
	c.boxes = append(c.boxes, b)
	return b
}

func (c *canvas) text(in box, x, y, size float64, f font, class, text string) {
	if text != "" {
		c.texts = append(c.texts, label{x, y, size, f, class, text, in})
	}
}

// textRight writes a text that ends at x.
func (c *canvas) textRight(in box, x, y, size float64, f font, class, text string) {
	c.text(in, x-textWidth(text, size, f), y, size, f, class, text)
}

// lines breaks a text for a width, and shortens what is longer than so many lines.
func lines(text string, width, size float64, f font, most int) []string {
	n := lineOf(width, size, f)
	var all []string
	for _, l := range wrap(line{{text: text}}, n, 0) {
		t := ""
		for _, s := range l {
			t += s.text
		}
		all = append(all, t)
	}
	if len(all) > most {
		all = all[:most]
		all[most-1] = shorten(all[most-1]+" …", n)
	}
	return all
}

type point struct{ x, y float64 }

// A wire is a line of straight pieces.
type wire struct {
	way    way
	arrow  bool // at its end
	dot    bool // at its end: it joins another wire
	points []point
}

// wire draws one; points in which it does not turn are left out.
func (c *canvas) wire(w way, arrow bool, points ...point) {
	points = slices.Compact(points)
	c.wires = append(c.wires, wire{way: w, arrow: arrow, points: points})
}

// join draws a wire that ends in another.
func (c *canvas) join(w way, points ...point) {
	c.wires = append(c.wires, wire{way: w, dot: true, points: points})
}
