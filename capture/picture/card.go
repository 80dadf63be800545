package picture

import (
	"fmt"
	"strings"

	"istio-init/capture/path"
	"istio-init/iptables"
)

// An exit is where a rule of a card sends packets: to the right.
type exit struct {
	y        float64
	way      way
	kind     exitKind
	chain    *chain  // of toChain
	end      end     // of toPlace
	next     float64 // of toNext: where the next card is entered
	out      bool
	accepted bool  // by a rule, not returned
	own      place // the chain of the rule
	door     *door // by which it leads
}

type exitKind uint8

const (
	toChain exitKind = iota
	toPlace          // the proxy, the agent
	toApp
	toOutside
	toNext // another table of the hook
	toNowhere
)

// card draws a chain with its rules; called says that a built-in chain calls it.
func (s *scene) card(c *chain, out, called bool) {
	s.cards[c.place] = s.y + 11
	if len(s.cards) > mostCards {
		s.many++
		s.brief(c, "", visible(c.name)+" is not drawn", "")
		return
	}
	top, at := s.y, len(s.boxes)
	s.box(s.x.cards, top, cardWidth, 0, "card")
	head := s.box(s.x.cards+1, top+1, cardWidth-2, 21, "head")
	s.text(head, head.x+7, head.y+14.5, 11.5, monoBold, "", shorten(visible(c.name), 40))
	s.textRight(head, head.right()-8, head.y+14.5, smallSize, mono, "faint", "table "+shorten(visible(c.table), 12))
	s.y += 22
	var below []*chain
	folds := folded(c.rows)
	for i, f := range shownOf(folds) {
		if f.rows == nil {
			s.hidden(c, folds[i:len(folds)-lastShown])
			continue
		}
		to := s.find(c.table, f.rows[0].goes)
		s.rule(c, f, out)
		if to != nil && to.own && !s.isDoor(to) {
			below = append(below, to)
		}
	}
	if len(folds) == 0 {
		s.brief(c, "", "no rules", "")
	}
	if called && len(folds) > 0 && s.leaks(c, folds) {
		s.leftBehind(c, out)
	}
	s.boxes[at].h = s.y - top
	for _, to := range below {
		if _, drawn := s.cards[to.place]; !drawn {
			s.y += 12
			s.card(to, out, false)
		}
	}
}

// leaks tells whether a chain that captures leaves packets behind its last rule.
func (s *scene) leaks(c *chain, folds []fold) bool {
	last := folds[len(folds)-1].rows
	l := s.leadsBelow(c)
	return (c.table == iptables.NAT || c.table == iptables.Mangle) && l != path.Dropped && !catchesAll(last[len(last)-1])
}

// leadsBelow is leads for a chain that captures by others.
func (s *scene) leadsBelow(c *chain) path.Outcome {
	for _, r := range c.rows {
		if to := s.find(c.table, r.goes); to != nil && s.leads(to) != path.Direct {
			return s.leads(to)
		}
	}
	return s.leads(c)
}

// The most folds of a card, and how many of the last are always among them.
const (
	mostShown = 16
	lastShown = 3
)

// shownOf are the folds that a card shows; one without rules stands for those
// that it does not.
func shownOf(all []fold) []fold {
	if len(all) <= mostShown {
		return all
	}
	shown := append(all[:mostShown-lastShown:mostShown-lastShown], fold{})
	return append(shown, all[len(all)-lastShown:]...)
}

// hidden draws what stands for rules that are not shown.
func (s *scene) hidden(c *chain, folds []fold) {
	n := 0
	var to []string
	for _, f := range folds {
		n += len(f.rows)
		to = append(to, some(f.rows, func(r row) string { return r.then })...)
	}
	rows := make([]row, len(to))
	for i := range to {
		rows[i].then = to[i]
	}
	s.brief(c, "", fmt.Sprintf("and %d more → %s", n, strings.Join(some(rows, func(r row) string { return r.then }), ", ")), "")
}

// leftBehind draws what becomes of packets that no rule of a chain takes.
func (s *scene) leftBehind(c *chain, out bool) {
	s.exits = append(s.exits, s.direct(c, out, false))
	s.brief(c, "", "all else", "")
}

// direct is an exit of packets that are left alone.
func (s *scene) direct(c *chain, out, lo bool) exit {
	e := exit{y: s.y + 11, way: leftAway, kind: toApp, out: out, own: c.place}
	switch {
	case lo:
		e.way = selfCall
	case out:
		e.kind = toOutside
	}
	return e
}

// rule draws a fold of rules: why, and below what they ask.
func (s *scene) rule(c *chain, f fold, out bool) {
	r := f.rows[0]
	top := s.y
	in := box{s.x.cards, top, cardWidth, 0, ""}
	if top > s.cards[c.place]+12 || c.builtin {
		s.box(s.x.cards+8, top, cardWidth-16, 1, "rule")
	}
	x := s.x.cards + 36
	if w := textWidth(f.numbers()+" ", smallSize, mono); w > 30 {
		x += w - 30
	}
	room := in.right() - 8 - x
	whys := lines(f.why(), room, fontSize, sans, 3)
	when := f.when()
	if _, ok := s.end(c, r); !ok && r.goes == "" {
		when += " → " + r.then
	} else {
		when = orAll(when)
	}
	whens := lines(strings.TrimSpace(when), room, smallSize, mono, 4)
	in.h = 9 + 15*float64(len(whys)) + 13*float64(len(whens))
	s.text(in, in.x+8, top+16, smallSize, mono, "faint", f.numbers())
	y := top + 16
	for _, l := range whys {
		s.text(in, x, y, fontSize, sans, "", l)
		y += 15
	}
	y--
	for _, l := range whens {
		s.text(in, x, y, smallSize, mono, "faint", l)
		y += 13
	}
	s.leave(c, r, top+11, out)
	s.y = top + in.h
}

// leave notes where a rule sends packets.
func (s *scene) leave(c *chain, r row, y float64, out bool) {
	e := exit{y: y, out: out, own: c.place}
	to := s.find(c.table, r.goes)
	landing, ok := s.end(c, r)
	switch {
	case to != nil && to.own:
		e.kind, e.chain, e.way = toChain, to, through(out)
		if l := s.leads(to); l != path.Direct {
			e.way = wayTo(l, out)
		}
	case !ok || landing.landing == path.Unknown:
		return
	case landing.landing == path.Direct:
		e = s.direct(c, out, byLo(r))
		e.y, e.accepted = y, r.rule.Target == iptables.Accept
	case landing.landing == path.Dropped:
		e.kind, e.way = toNowhere, lostWay
	default:
		e.kind, e.end, e.way = toPlace, landing, wayTo(landing.landing, out)
	}
	s.exits = append(s.exits, e)
}

// byLo tells whether a rule is about connections of the pod to itself.
func byLo(r row) bool {
	m := r.rule.Match
	lo := func(c iptables.Cond[iptables.Interface]) bool { return c.Set && !c.Neg && c.Val == "lo" }
	return lo(m.In) || lo(m.Out) || m.Dst.Set && !m.Dst.Neg && m.Dst.Val.Addr().IsLoopback()
}
