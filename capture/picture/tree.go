package picture

import (
	"fmt"
	"strconv"
	"strings"

	"istio-init/iptables"
)

// deepest is how many chains are drawn within each other. What lies deeper is
// drawn by itself, so that it has room.
const deepest = 6

// drawTree draws sheets as trees: hooks, their chains in the order in which they
// are asked, and in each rule that jumps the chain it goes to.
func drawTree(style Style, sheets []*sheet) string {
	var b strings.Builder
	for i, s := range sheets {
		if i > 0 {
			b.WriteByte('\n')
		}
		f := forest{sheet: s, b: &b, colour: style.Colour, width: style.width(), shown: map[place]bool{}}
		f.draw()
	}
	return b.String()
}

// A forest is a sheet that is drawn as trees.
type forest struct {
	*sheet
	b      *strings.Builder
	colour bool
	width  int
	shown  map[place]bool // or will be by itself
	later  []*chain       // of these, those that are left to draw
}

func (f *forest) draw() {
	for _, l := range wrap(line{{f.title(), strong}}, f.width, 0) {
		f.print(l)
	}
	if f.rules() == 0 {
		f.print(line{{"no rules", faint}})
	}
	for _, h := range hooks {
		var chains []*chain
		for _, table := range h.tables {
			if c := f.find(table, h.name); c != nil && (len(c.rows) > 0 || c.drops) {
				chains = append(chains, c)
			}
		}
		if len(chains) == 0 {
			continue
		}
		f.print(nil)
		f.print(line{{h.name, strong}, {" (" + h.what + ")", faint}})
		for i, c := range chains {
			twig, stem := branch(i == len(chains)-1)
			f.print(line{{twig, faint}, {c.table, strong}})
			f.chain(c, stem, 1)
		}
	}
	f.alone()
}

// alone draws the chains that no tree has: first those that lay too deep, then
// those to which no rule leads.
func (f *forest) alone() {
	root := func(c *chain, what string) {
		f.shown[c.place] = true
		f.print(nil)
		for _, l := range wrap(line{{visible(c.table + " " + c.name), strong}, {" (" + what + ")", faint}}, f.width, 0) {
			f.print(l)
		}
		f.chain(c, "", 1)
	}
	deep := func() {
		for len(f.later) > 0 {
			c := f.later[0]
			f.later = f.later[1:]
			root(c, "called above")
		}
	}
	deep()
	for _, c := range f.chains {
		if !c.builtin && !f.shown[c.place] {
			root(c, "no rule above leads here")
			deep()
		}
	}
}

// branch returns what is drawn before an entry, and before what is below it.
func branch(last bool) (twig, stem string) {
	if last {
		return "└─ ", "   "
	}
	return "├─ ", "│  "
}

// chain draws the rules of a chain.
func (f *forest) chain(c *chain, stem string, depth int) {
	f.shown[c.place] = true
	digits := len(strconv.Itoa(len(c.rows)))
	for i, r := range c.rows {
		twig, below := branch(i == len(c.rows)-1 && !c.drops)
		to, where := f.follow(c, r, depth)
		rest := stem + below
		if to != nil {
			rest += "│"
		}
		left := line{{fmt.Sprintf("%-*d  ", digits, r.number), faint}}
		left = append(left, f.text(r, where)...)
		f.entry(stem+twig, rest, left, digits+2, line{{r.why(), reasonInk(r)}})
		if to != nil {
			f.chain(to, stem+below, depth+1)
		}
	}
	if c.drops {
		f.entry(stem+"└─ ", stem, line{{"all else → ", plain}, {"DROP", lost}}, 0, line{{"the policy of the chain", plain}})
	}
	if len(c.rows) == 0 && !c.drops {
		f.print(line{{stem + "└─ no rules", faint}})
	}
}

// follow says which chain is drawn below a rule, or where it is drawn.
func (f *forest) follow(c *chain, r row, depth int) (_ *chain, where string) {
	if r.goes == "" {
		return nil, ""
	}
	to := f.find(c.table, r.goes)
	switch {
	case to == nil:
		return nil, " (not there)"
	case f.shown[to.place]:
		return nil, " (above)"
	case len(to.rows) == 0:
		f.shown[to.place] = true
		return nil, " (no rules)"
	case depth >= deepest:
		f.shown[to.place] = true
		f.later = append(f.later, to)
		return nil, " (below)"
	}
	return to, ""
}

// text is what a rule says.
func (f *forest) text(r row, where string) line {
	return line{{orAll(r.when) + " → ", plain}, {r.then, thenInk(r)}, {where, faint}}
}

// thenInk is the ink of what a rule does.
func thenInk(r row) ink {
	switch r.rule.Target.(type) {
	case iptables.Jump, iptables.Goto:
		return strong
	case iptables.Redirect, iptables.TProxy:
		return taken
	case iptables.Verdict:
		if r.rule.Target == iptables.Drop {
			return lost
		}
	}
	return plain
}

func reasonInk(r row) ink {
	if r.reason == "" {
		return faint
	}
	return plain
}

// entry prints a rule with its reason beside it, or below where it is too long.
func (f *forest) entry(twig, rest string, left line, hang int, why line) {
	at := f.width / 2
	lines := wrap(left, f.width-max(columns(twig), columns(rest)), hang)
	reasons := wrap(why, f.width-at, 0)
	first := 0
	if len(lines) > 1 || columns(twig)+left.columns() > at-2 {
		first = len(lines)
	}
	for i := range max(len(lines), first+len(reasons)) {
		now := line{{rest, faint}}
		if i == 0 {
			now = line{{twig, faint}}
		}
		if i < len(lines) {
			now = append(now, lines[i]...)
		}
		if i >= first && i < first+len(reasons) {
			now = append(now.fill(at), reasons[i-first]...)
		}
		f.print(now)
	}
}

func (f *forest) print(l line) { l.print(f.b, f.colour) }
