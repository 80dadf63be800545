package picture

import (
	"fmt"
	"strconv"
	"strings"

	"istio-init/iptables"
)

// deepest is the number of levels of a tree. Chains below are trees of their own, so
// that lines have room.
const deepest = 6

// drawTree returns views as trees: hooks, their chains in the order in which packets
// meet them, and below each jump the chain it goes to.
func drawTree(on Terminal, views []*view) string {
	var b strings.Builder
	for i, s := range views {
		if i > 0 {
			b.WriteByte('\n')
		}
		w := treeWriter{view: s, b: &b, colour: on.Colour, width: on.width(), shown: map[chainKey]bool{}}
		w.draw()
	}
	return b.String()
}

// A treeWriter writes a view as trees.
type treeWriter struct {
	*view
	b      *strings.Builder
	colour bool
	width  int
	shown  map[chainKey]bool // written already, or a tree of its own later
	later  []*chain          // trees that are not written yet
}

func (w *treeWriter) draw() {
	for _, l := range wrap(line{{w.title(), heading}}, w.width, 0) {
		w.print(l)
	}
	if w.count() == 0 {
		w.print(line{{"no rules", faint}})
	}
	for _, h := range hooks {
		var chains []*chain
		for _, table := range h.tables() {
			if c := w.find(table, h.name); c != nil && (len(c.rules) > 0 || c.drops) {
				chains = append(chains, c)
			}
		}
		if len(chains) == 0 {
			continue
		}
		w.print(nil)
		w.print(line{{h.name, heading}, {" (" + h.what + ")", faint}})
		for i, c := range chains {
			twig, stem := branch(i == len(chains)-1)
			w.print(line{{twig, faint}, {c.table, heading}})
			w.chain(c, stem, 1)
		}
	}
	w.alone()
}

// alone writes the chains that no hook has in its tree: first those too deep in it,
// then those to which no rule jumps.
func (w *treeWriter) alone() {
	root := func(c *chain, what string) {
		w.shown[c.chainKey] = true
		w.print(nil)
		for _, l := range wrap(line{{visible(c.table + " " + c.name), heading}, {" (" + what + ")", faint}}, w.width, 0) {
			w.print(l)
		}
		w.chain(c, "", 1)
	}
	deep := func() {
		for len(w.later) > 0 {
			c := w.later[0]
			w.later = w.later[1:]
			root(c, "called above")
		}
	}
	deep()
	for _, c := range w.chains {
		if !c.builtin && !w.shown[c.chainKey] {
			root(c, "no rule above jumps here")
			deep()
		}
	}
}

// branch returns the lines before an entry, and those before the entries below it.
func branch(last bool) (twig, stem string) {
	if last {
		return "└─ ", "   "
	}
	return "├─ ", "│  "
}

// chain writes the rules of a chain.
func (w *treeWriter) chain(c *chain, stem string, depth int) {
	w.shown[c.chainKey] = true
	digits := len(strconv.Itoa(len(c.rules)))
	for i, r := range c.rules {
		twig, below := branch(i == len(c.rules)-1 && !c.drops)
		to, where := w.follow(c, r, depth)
		rest := stem + below
		if to != nil {
			rest += "│"
		}
		left := line{{fmt.Sprintf("%-*d  ", digits, r.number), faint}}
		left = append(left, w.text(r, where)...)
		w.entry(stem+twig, rest, left, digits+2, line{{r.why(), reasonStyle(r)}})
		if to != nil {
			w.chain(to, stem+below, depth+1)
		}
	}
	if c.drops {
		w.entry(stem+"└─ ", stem, line{{"otherwise → ", plain}, {"DROP", dropping}}, 0, line{{"policy of the chain", plain}})
	}
	if len(c.rules) == 0 && !c.drops {
		w.print(line{{stem + "└─ no rules", faint}})
	}
}

// follow returns the chain to write below a rule, or where that chain is.
func (w *treeWriter) follow(c *chain, r viewRule, depth int) (_ *chain, where string) {
	if r.target == "" {
		return nil, ""
	}
	to := w.find(c.table, r.target)
	switch {
	case to == nil:
		return nil, " (missing)"
	case w.shown[to.chainKey]:
		return nil, " (above)"
	case len(to.rules) == 0:
		w.shown[to.chainKey] = true
		return nil, " (no rules)"
	case depth >= deepest:
		w.shown[to.chainKey] = true
		w.later = append(w.later, to)
		return nil, " (below)"
	}
	return to, ""
}

// text returns the condition and the action of a rule.
func (w *treeWriter) text(r viewRule, where string) line {
	return line{{orAll(r.condition) + " → ", plain}, {r.action, actionStyle(r)}, {where, faint}}
}

// actionStyle returns the style of the action of a rule.
func actionStyle(r viewRule) style {
	switch r.rule.Target.(type) {
	case iptables.Jump, iptables.Goto:
		return heading
	case iptables.Redirect, iptables.TProxy:
		return capturing
	case iptables.Verdict:
		if r.rule.Target == iptables.Drop {
			return dropping
		}
	}
	return plain
}

func reasonStyle(r viewRule) style {
	if r.reason == "" {
		return faint
	}
	return plain
}

// entry writes a rule with its reason beside it, or below where it is too long.
func (w *treeWriter) entry(twig, rest string, left line, hang int, why line) {
	at := w.width / 2
	lines := wrap(left, w.width-max(columns(twig), columns(rest)), hang)
	reasons := wrap(why, w.width-at, 0)
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
		w.print(now)
	}
}

func (w *treeWriter) print(l line) { l.print(w.b, w.colour) }
