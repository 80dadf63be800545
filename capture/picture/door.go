package picture

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/capture/path"
)

// A door is a short chain that captures, beside the chains that lead to it; or only
// a way past them.
type door struct {
	box
	chain   *chain // nil: none
	end     end
	entries []entry
	ways    []way // as they come, and go on
}

// An entry is where wires of one way end.
type entry struct {
	way way
	y   float64
}

// A spot is a port of the proxy or the agent.
type spot struct {
	box
	end
}

// isDoor tells whether a chain is drawn as a door: it is short, captures, and no
// built-in chain calls it.
func (s *scene) isDoor(c *chain) bool {
	if !c.own || len(c.rows) == 0 || len(c.rows) > 3 || s.called[c.place] {
		return false
	}
	for _, r := range c.rows {
		if r.goes != "" || r.rule.Foreign != nil || len(doorLines(r)) > 3 {
			return false
		}
	}
	l := s.leads(c)
	return l == path.Inbound || l == path.Outbound
}

// doorLines is what a rule of a door says.
func doorLines(r row) []string {
	const width = doorWidth - 16
	all := lines(strings.TrimPrefix(r.when+" → "+r.then, " → "), width, smallSize, mono, 4)
	if len(all) > 1 && r.when != "" {
		return append(lines(r.when, width, smallSize, mono, 2), lines("→ "+r.then, width, smallSize, mono, 2)...)
	}
	return all
}

// placeDoors draws the doors to which exits lead, each beside the first of them,
// and returns where they end.
func (s *scene) placeDoors(exits []exit) float64 {
	for i := range exits {
		e := &exits[i]
		switch {
		case e.kind == toChain && s.isDoor(e.chain):
			s.doorFor(func(d *door) bool { return d.chain == e.chain }, e, func() *door { return s.chainDoor(e) })
		case e.kind == toPlace:
			s.doorFor(func(d *door) bool { return d.chain == nil && d.end == e.end && d.y >= s.lane0 }, e, func() *door {
				return &door{box: box{s.x.doors, max(e.y-5, s.doorY), doorWidth, 10, ""}, end: e.end}
			})
		case e.kind == toNowhere:
			s.doorFor(func(d *door) bool { return d.end == e.lost() && d.y >= s.lane0 }, e, func() *door { return s.lostDoor(e) })
		}
	}
	s.lane0 = s.doorY
	return s.doorY
}

// lost is the end of dropped packets.
func (exit) lost() end { return end{landing: path.Dropped} }

// doorFor leads an exit to a door, and makes it when there is none.
func (s *scene) doorFor(is func(*door) bool, e *exit, made func() *door) {
	i := slices.IndexFunc(s.doors, is)
	if i < 0 {
		i = len(s.doors)
		s.doors = append(s.doors, made())
		s.doorY = s.doors[i].bottom() + 12
	}
	d := s.doors[i]
	e.door = d
	if !slices.Contains(d.ways, e.way) {
		d.ways = append(d.ways, e.way)
	}
}

// chainDoor draws a chain as a door.
func (s *scene) chainDoor(e *exit) *door {
	c := e.chain
	s.cards[c.place] = e.y
	h := 24.0
	for _, r := range c.rows {
		h += 13*float64(len(doorLines(r))) + 2
	}
	d := &door{chain: c, box: s.box(s.x.doors, max(e.y-11, s.doorY), doorWidth, h, "card")}
	head := s.box(d.x+1, d.y+1, d.w-2, 20, "head")
	s.text(head, head.x+7, head.y+14, 11, monoBold, "", shorten(visible(c.name), lineOf(d.w-14, 11, monoBold)))
	y := d.y + 34
	for _, r := range c.rows {
		for _, l := range doorLines(r) {
			s.text(d.box, d.x+8, y, smallSize, mono, "faint", l)
			y += 13
		}
		y += 2
		if landing, ok := s.end(c, r); ok && landing.landing != path.Direct {
			d.end = landing
		}
	}
	return d
}

// lostDoor draws the end of dropped packets.
func (s *scene) lostDoor(e *exit) *door {
	d := &door{end: e.lost(), box: s.box(s.x.doors, max(e.y-10, s.doorY), 74, 20, "place")}
	s.text(d.box, d.x+10, d.y+14, smallSize, bold, "", "dropped")
	return d
}

// spots draws the ports of the proxy and the agent beside the doors that lead
// there, and the proxy around its own.
func (s *scene) spots() (all []*spot, proxy box) {
	at := len(s.boxes)
	s.box(0, 0, 0, 0, "proxy") // known when its ports are
	y, agent := 0.0, false
	top, bottom := s.app.y, s.toHook+12
	for _, l := range []path.Outcome{path.Inbound, path.Outbound, path.DNS} {
		for _, d := range s.doors {
			if d.end.landing != l || slices.ContainsFunc(all, func(p *spot) bool { return p.end == d.end }) || len(all) >= mostSpots {
				continue
			}
			if l == path.DNS && !agent {
				agent, y = true, max(y, bottom+16)
			}
			p := s.spot(d, y)
			all, y = append(all, p), p.bottom()+10
			if l != path.DNS {
				top, bottom = min(top, p.y-26), max(bottom, p.bottom()+8)
			}
		}
	}
	if !slices.ContainsFunc(all, func(p *spot) bool { return p.landing != path.DNS }) {
		s.boxes = slices.Delete(s.boxes, at, at+1)
		return all, box{}
	}
	proxy = box{s.x.places, top, placeWidth + 6, bottom - top, "proxy"}
	s.boxes[at] = proxy
	s.text(proxy, proxy.x+10, proxy.y+17, 13, bold, "", "proxy")
	return all, proxy
}

const mostSpots = 8

// spot draws a port.
func (s *scene) spot(d *door, least float64) *spot {
	name := map[path.Outcome]string{path.Inbound: "inbound", path.Outbound: "outbound", path.DNS: "agent"}[d.end.landing]
	p := &spot{box: s.box(s.x.places+8, max(d.out()-17, least), placeWidth-10, 36, "place"), end: d.end}
	s.text(p.box, p.x+9, p.y+15, fontSize, bold, "", name)
	s.text(p.box, p.x+9, p.y+29, smallSize, mono, "faint", fmt.Sprintf("port %d", d.end.port))
	return p
}

// out is where the way goes on from a door.
func (d *door) out() float64 {
	if d.chain == nil {
		return d.y + d.h/2
	}
	return d.y + 11
}
