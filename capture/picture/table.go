package picture

import (
	"fmt"
	"strings"
)

// drawTable returns each chain as a table of its rules.
func drawTable(on Terminal, views []*view) string {
	var b strings.Builder
	for i, s := range views {
		if i > 0 {
			b.WriteByte('\n')
		}
		w := tableWriter{b: &b, colour: on.Colour, width: on.width()}
		w.measure(s)
		w.draw(s)
	}
	return b.String()
}

// A tableWriter writes the chains of a view as tables.
type tableWriter struct {
	b                 *strings.Builder
	colour            bool
	width             int
	number            int // width of the column of rule numbers
	condition, action int // widths of these columns; the reason has the rest
}

const gap = 2 // blanks between columns

// measure sets the widths of the columns: what the texts need, up to a share of the
// whole.
func (w *tableWriter) measure(s *view) {
	w.number, w.condition, w.action = 1, len("condition"), len("action")
	for _, c := range s.chains {
		w.number = max(w.number, len(fmt.Sprint(len(c.rules))))
		for _, r := range c.rules {
			w.condition, w.action = max(w.condition, columns(r.condition)), max(w.action, columns(r.action))
		}
	}
	room := w.width - w.number - 3*gap
	w.action = min(w.action, room*27/100)
	w.condition = min(w.condition, room*38/100)
}

func (w *tableWriter) draw(s *view) {
	for _, now := range wrap(line{{s.title(), heading}}, w.width, 0) {
		w.print(now)
	}
	if s.count() == 0 {
		w.print(line{{"no rules", faint}})
	}
	first := true
	for _, c := range s.chains {
		if len(c.rules) == 0 && !c.drops && !c.own {
			continue
		}
		w.print(nil)
		w.print(line{{visible(c.table + " " + c.name), heading}})
		if first {
			w.row(line{{"#", faint}}, line{{"condition", faint}}, line{{"action", faint}}, line{{"reason", faint}})
			first = false
		}
		w.chain(c)
	}
}

// chain writes the rules of a chain.
func (w *tableWriter) chain(c *chain) {
	for _, r := range c.rules {
		w.row(line{{fmt.Sprint(r.number), faint}}, line{{orAll(r.condition), plain}}, line{{r.action, actionStyle(r)}}, line{{r.why(), reasonStyle(r)}})
	}
	switch {
	case c.drops:
		w.row(line{{"-", faint}}, line{{"otherwise", plain}}, line{{"DROP", dropping}}, line{{"policy of the chain", plain}})
	case len(c.rules) == 0:
		w.print(line{{"no rules", faint}})
	}
}

// row writes the cells of a rule, on as many lines as the longest needs.
func (w *tableWriter) row(number, condition, action, reason line) {
	blank := strings.Repeat(" ", w.number-number.columns())
	number = append(line{{text: blank}}, number...)
	before := w.number + w.condition + w.action + 3*gap
	cells := [][]line{{number}, wrap(condition, w.condition, 0), wrap(action, w.action, 0), wrap(reason, w.width-before, 0)}
	widths := []int{w.number, w.condition, w.action, 0}
	most := 0
	for _, c := range cells {
		most = max(most, len(c))
	}
	for i := range most {
		var now line
		for n, c := range cells {
			var part line
			if i < len(c) {
				part = c[i]
			}
			if n > 0 {
				now = append(now, styledText{text: strings.Repeat(" ", gap)})
			}
			now = append(now, part.fill(widths[n])...)
		}
		w.print(now)
	}
}

func (w *tableWriter) print(now line) { now.print(w.b, w.colour) }
