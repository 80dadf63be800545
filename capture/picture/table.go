package picture

import (
	"fmt"
	"strings"
)

// drawTable draws each chain as a table of its rules.
func drawTable(style Style, sheets []*sheet) string {
	var b strings.Builder
	for i, s := range sheets {
		if i > 0 {
			b.WriteByte('\n')
		}
		l := ledger{b: &b, colour: style.Colour, width: style.width()}
		l.measure(s)
		l.draw(s)
	}
	return b.String()
}

// A ledger is a sheet that is drawn as tables.
type ledger struct {
	b          *strings.Builder
	colour     bool
	width      int
	number     int // columns for the numbers of rules
	when, then int // for what they ask and do; the reason has the rest
}

const gap = 2 // columns between those of a table

// measure shares the width among the columns: to each what its texts need, where
// that is not more than its part.
func (l *ledger) measure(s *sheet) {
	l.number, l.when, l.then = 1, len("condition"), len("what happens")
	for _, c := range s.chains {
		l.number = max(l.number, len(fmt.Sprint(len(c.rows))))
		for _, r := range c.rows {
			l.when, l.then = max(l.when, columns(r.when)), max(l.then, columns(r.then))
		}
	}
	room := l.width - l.number - 3*gap
	l.then = min(l.then, room*27/100)
	l.when = min(l.when, room*38/100)
}

func (l *ledger) draw(s *sheet) {
	for _, now := range wrap(line{{s.title(), strong}}, l.width, 0) {
		l.print(now)
	}
	if s.rules() == 0 {
		l.print(line{{"no rules", faint}})
	}
	first := true
	for _, c := range s.chains {
		if len(c.rows) == 0 && !c.drops && !c.own {
			continue
		}
		l.print(nil)
		l.print(line{{visible(c.table + " " + c.name), strong}})
		if first {
			l.row(line{{"#", faint}}, line{{"condition", faint}}, line{{"what happens", faint}}, line{{"why", faint}})
			first = false
		}
		l.chain(c)
	}
}

// chain draws the rules of a chain.
func (l *ledger) chain(c *chain) {
	for _, r := range c.rows {
		l.row(line{{fmt.Sprint(r.number), faint}}, line{{orAll(r.when), plain}}, line{{r.then, thenInk(r)}}, line{{r.why(), reasonInk(r)}})
	}
	switch {
	case c.drops:
		l.row(line{{"-", faint}}, line{{"all else", plain}}, line{{"DROP", lost}}, line{{"the policy of the chain", plain}})
	case len(c.rows) == 0:
		l.print(line{{"no rules", faint}})
	}
}

// row draws a rule, on as many lines as its longest text needs.
func (l *ledger) row(number, when, then, why line) {
	blank := strings.Repeat(" ", l.number-number.columns())
	number = append(line{{text: blank}}, number...)
	why0 := l.number + l.when + l.then + 3*gap
	cells := [][]line{{number}, wrap(when, l.when, 0), wrap(then, l.then, 0), wrap(why, l.width-why0, 0)}
	widths := []int{l.number, l.when, l.then, 0}
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
				now = append(now, span{text: strings.Repeat(" ", gap)})
			}
			now = append(now, part.fill(widths[n])...)
		}
		l.print(now)
	}
}

func (l *ledger) print(now line) { now.print(l.b, l.colour) }
