package picture

import (
	"slices"

	"istio-init/iptables"
)

// hook draws a hook: its name, its tables, and their chains in the order in which
// they are asked.
func (s *scene) hook(h hook, out bool) {
	entry := h.name == iptables.Prerouting || h.name == iptables.Output
	b := s.box(s.x.cards, s.y, cardWidth, 26, "hook")
	if h.name == iptables.Prerouting {
		s.ends[int(incoming)] = b.y + 13
	}
	if h.name == iptables.Output {
		s.ends[int(outgoing)] = b.y
	}
	s.text(b, b.x+10, b.y+17, 13, monoBold, "", h.name)
	s.text(b, b.x+18+textWidth(h.name, 13, monoBold), b.y+17, smallSize, sans, "faint", h.what)
	s.chips(b, h)
	s.y = b.bottom()
	before := len(s.exits) // of the table before
	for _, t := range h.tables {
		c := s.find(t, h.name)
		if c == nil || len(c.rows) == 0 && !c.drops {
			continue
		}
		goOn(s.exits[before:], s.step(through(out))+11, true)
		before = len(s.exits)
		s.builtin(c, out)
	}
	if entry && !slices.ContainsFunc(s.exits[before:], exit.direct) {
		e := s.direct(&chain{}, out, false)
		e.y = b.y + 13
		s.exits = append(s.exits, e)
	}
	s.y += 10
}

// direct tells whether an exit is of packets that are left alone in the end.
func (e exit) direct() bool { return e.kind == toApp || e.kind == toOutside }

// goOn leads what a chain leaves alone to where the next one is entered. What is
// accepted is so by the table, and goes on in the next one of the hook.
func goOn(exits []exit, entry float64, accepted bool) {
	for i := range exits {
		if exits[i].direct() && (accepted || !exits[i].accepted) {
			exits[i].kind, exits[i].next, exits[i].way = toNext, entry, leftAway
		}
	}
}

// chips shows the tables of a hook in their order; those without rules are idle.
func (s *scene) chips(b box, h hook) {
	x := b.right() - 8
	for i := len(h.tables) - 1; i >= 0; i-- {
		t := h.tables[i]
		c := s.find(t, h.name)
		busy := c != nil && (len(c.rows) > 0 || c.drops)
		if !busy && compareTables(t, iptables.NAT) > 0 {
			continue // of no interest to a mesh
		}
		w := textWidth(t, 9.5, mono) + 10
		x -= w
		class, ink := "idle", "faint"
		if busy {
			class, ink = "chip", "lit"
		}
		chip := s.box(x, b.y+6, w, 14, class)
		s.text(chip, x+5, b.y+16.5, 9.5, mono, ink, t)
		x -= 4
	}
}

// step draws the short way down to the next card and returns where that begins.
func (s *scene) step(w way) float64 {
	s.wire(w, true, point{s.x.cards + 17, s.y}, point{s.x.cards + 17, s.y + 13})
	s.y += 13
	return s.y
}

// builtin draws a built-in chain, and below it our chains that it calls.
func (s *scene) builtin(c *chain, out bool) {
	top := s.y
	at := len(s.boxes)
	s.box(s.x.cards, top, cardWidth, 0, "card")
	var calls []*chain
	for _, f := range folded(c.rows) {
		r := f.rows[0]
		to := s.find(c.table, r.goes)
		if to != nil && to.own && !r.others {
			s.call(c, f)
			calls = append(calls, to)
			continue
		}
		if r.others {
			s.brief(c, f.numbers(), f.why(), "")
			continue
		}
		s.rule(c, f, out)
	}
	if c.drops {
		s.exits = append(s.exits, exit{y: s.y + 11, way: lostWay, kind: toNowhere, own: c.place})
		s.brief(c, "", "all else is dropped: the policy", "")
	}
	s.boxes[at].h = s.y - top
	first, before := true, len(s.exits)
	for _, to := range calls {
		if _, drawn := s.cards[to.place]; drawn {
			continue
		}
		entry := s.step(through(out)) + 11
		if !first { // what the chain before returns goes on here
			goOn(s.exits[before:], entry, false)
		}
		first, before = false, len(s.exits)
		s.card(to, out, true)
	}
}

// call draws a jump of a built-in chain on one line: the chain stands below.
func (s *scene) call(c *chain, f fold) {
	r := f.rows[0]
	s.brief(c, f.numbers(), orAll(r.when)+" → "+r.then, f.why())
}

// brief draws a line of a built-in chain, with a remark where there is room.
func (s *scene) brief(c *chain, number, text, remark string) {
	row := box{s.x.cards, s.y, cardWidth, 21, ""}
	x := row.x + 8
	if c.builtin {
		table := shorten(visible(c.table), 10)
		s.text(row, x, row.y+14.5, smallSize, monoBold, "faint", table)
		x += 8 + textWidth(table, smallSize, monoBold)
	} else if number == "" {
		x += 28
	}
	if number != "" {
		s.text(row, x, row.y+14.5, smallSize, mono, "faint", number)
		x += textWidth(number+" ", smallSize, mono) + 4
	}
	text = shorten(text, lineOf(row.right()-10-x, smallSize, mono))
	s.text(row, x, row.y+14.5, smallSize, mono, "", text)
	x += textWidth(text, smallSize, mono) + 14
	if x+textWidth(remark, smallSize, sans) < row.right()-8 {
		s.textRight(row, row.right()-8, row.y+14.5, smallSize, sans, "faint", remark)
	}
	s.y += row.h
}
