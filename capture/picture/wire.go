package picture

import (
	"slices"

	"istio-init/capture/path"
)

// A bundle is wires that end at one point and are drawn as one: each from where it
// begins to a common line, and that to the end.
type bundle struct {
	from []float64 // where they begin
	to   point
	way  way
	x    float64 // of the common line
	on   bool    // they lead on behind their end
}

// span is what the common line covers.
func (b bundle) span() (lo, hi float64) {
	return min(slices.Min(b.from), b.to.y), max(slices.Max(b.from), b.to.y)
}

// lay draws bundles that begin at x. Common lines that would touch stand beside
// each other.
func (s *scene) lay(x, width float64, bundles []*bundle) {
	var slots [][]*bundle
	for _, b := range bundles {
		lo, hi := b.span()
		i := slices.IndexFunc(slots, func(in []*bundle) bool {
			return !slices.ContainsFunc(in, func(o *bundle) bool {
				l, h := o.span()
				return lo <= h+6 && l <= hi+6
			})
		})
		if i < 0 {
			i = len(slots)
			slots = append(slots, nil)
		}
		slots[i] = append(slots[i], b)
	}
	step := min(slotWidth, (width-20)/float64(max(1, len(slots)-1)))
	for i, in := range slots {
		for _, b := range in {
			b.x = x + 10 + step*float64(i)
			s.bundle(x, b)
		}
	}
}

// bundle draws one bundle: the outermost wires whole, the others up to the common
// line.
func (s *scene) bundle(x float64, b *bundle) {
	turn := b.to.y
	top, bottom := slices.Min(b.from), slices.Max(b.from)
	whole := top // the one that is drawn to the end
	if bottom-turn > turn-top {
		whole = bottom
	}
	s.wire(b.way, !b.on, straight([]point{{x, whole}, {b.x, whole}, {b.x, turn}, b.to})...)
	for _, y := range b.from {
		switch {
		case y == whole:
		case y == top && y < turn || y == bottom && y > turn: // from the other side
			s.join(b.way, point{x, y}, point{b.x, y}, point{b.x, turn})
		default:
			s.join(b.way, point{x, y}, point{b.x, y})
		}
	}
}

// straight leaves out the points at which a line does not turn.
func straight(points []point) []point {
	points = slices.Compact(points)
	var out []point
	for i, p := range points {
		if i > 0 && i+1 < len(points) {
			a, b := points[i-1], points[i+1]
			if a.x == p.x && p.x == b.x || a.y == p.y && p.y == b.y {
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

// route draws everything that leads from one place to another, and what stands
// outside of the pod. It returns where the pod ends.
func (s *scene) route() float64 {
	bottom := max(s.y, s.doorY) + 14
	spots, proxy := s.spots()
	for _, p := range spots {
		bottom = max(bottom, p.bottom()+14)
	}
	if proxy.h > 0 {
		bottom = max(bottom, proxy.bottom()+14)
	}
	leave := bottom - 4 // the line by which packets leave the pod
	s.lay(s.x.gutter, gutterWidth, s.bundles(leave))
	s.lay2(spots)
	s.outside(leave)
	s.throughSockets(proxy, spots)
	return bottom + 12
}

// outside draws the peers and the destinations of the pod.
func (s *scene) outside(leave float64) {
	in := s.ends[int(incoming)]
	peers := s.box(s.x.outside, in-13, outsideWidth, 26, "place")
	s.text(peers, peers.x+8, in+4, smallSize, bold, "", "peers")
	s.wire(incoming, true, point{peers.right(), in}, point{s.x.cards, in})
	if s.leaving {
		there := s.box(s.x.outside, leave-13, outsideWidth, 26, "place")
		s.text(there, there.x+8, leave+4, smallSize, bold, "", "elsewhere")
	}
}

// throughSockets draws what the proxy and the app send: to the app, and to OUTPUT.
func (s *scene) throughSockets(proxy box, spots []*spot) {
	from := point{s.app.x + 24, s.app.bottom()}
	x := s.x.cards + 17
	down := point{x, s.ends[int(outgoing)]}
	if proxy.h == 0 {
		s.wire(outgoing, true, from, point{from.x, s.toHook}, point{x, s.toHook}, down)
		return
	}
	if slices.ContainsFunc(spots, func(p *spot) bool { return p.landing == path.Inbound }) {
		s.wire(incoming, true, point{proxy.x, s.app.y + 14}, point{s.app.right(), s.app.y + 14})
	}
	s.wire(outgoing, true, point{proxy.x, s.toHook}, point{x, s.toHook}, down)
	s.join(outgoing, from, point{from.x, s.toHook})
}

// bundles collects the exits that end at one point.
func (s *scene) bundles(leave float64) []*bundle {
	type key struct {
		kind exitKind
		to   point
		way  way
	}
	var all []*bundle
	index := map[key]*bundle{}
	for _, e := range s.exits {
		to, ok := s.target(e, leave)
		if !ok {
			continue
		}
		k := key{e.kind, to, e.way}
		if index[k] == nil {
			index[k] = &bundle{to: to, way: e.way, on: e.door != nil && e.door.passes()}
			all = append(all, index[k])
		}
		index[k].from = append(index[k].from, e.y)
	}
	rank := func(b *bundle) int { // what is left alone stays near the chains
		if b.way == leftAway {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b *bundle) int { return rank(a) - rank(b) })
	return all
}

// target is where an exit leads.
func (s *scene) target(e exit, leave float64) (to point, ok bool) {
	switch {
	case e.door != nil:
		return point{e.door.x, s.enter(e.door, e)}, true
	case e.kind == toChain:
		y, drawn := s.cards[e.chain.place]
		return point{s.x.gutter, y + s.beside(e)}, drawn
	case e.kind == toNext:
		return point{s.x.gutter, e.next}, true
	case e.kind == toApp && e.way == selfCall:
		return point{s.app.x, s.app.y + 40}, true
	case e.kind == toApp:
		return point{s.app.x, s.app.y + 14}, true
	case e.kind == toOutside:
		s.leaving = true
		return point{s.x.outside + outsideWidth, leave}, true
	}
	return point{}, false
}

// beside is how far from the middle of the head of a chain the wires of a way end,
// so that those of another do not cover them.
func (s *scene) beside(e exit) float64 {
	const apart = 6
	ways := s.cardWays[e.chain.place]
	i := slices.Index(ways, e.way)
	if i < 0 {
		i = len(ways)
		s.cardWays[e.chain.place] = append(ways, e.way)
	}
	return float64([...]int{0, apart, -apart}[min(i, 2)])
}

// enter is where wires of the way of an exit enter a door: beside the first of
// them if that is free, else where no other wire is.
func (s *scene) enter(d *door, e exit) float64 {
	for _, in := range d.entries {
		if in.way == e.way {
			return in.y
		}
	}
	y := d.out()
	if len(d.entries) > 0 || y != e.y {
		y = d.y + 6 + 11*float64(len(d.entries))
		for s.taken(y, d.entries) && y < d.bottom()-4 {
			y++
		}
	}
	d.entries = append(d.entries, entry{e.way, y})
	return y
}

// taken tells whether a wire at y would touch another.
func (s *scene) taken(y float64, entries []entry) bool {
	near := func(o float64) bool { return o-4 < y && y < o+4 }
	return slices.ContainsFunc(s.exits, func(e exit) bool { return near(e.y) }) ||
		slices.ContainsFunc(entries, func(e entry) bool { return near(e.y) })
}

// lay2 draws what leads from the doors to the ports: what goes one way together.
func (s *scene) lay2(spots []*spot) {
	var all []*bundle
	for _, p := range spots {
		first := len(all)
		for _, d := range s.doors {
			if d.end != p.end || len(d.ways) == 0 {
				continue
			}
			w, y := d.ways[0], d.outY()
			if d.chain == nil { // past the doors
				s.wire(w, false, point{d.x, y}, point{d.right(), y})
			}
			i := slices.IndexFunc(all[first:], func(b *bundle) bool { return b.way == w })
			if i >= 0 {
				all[first+i].from = append(all[first+i].from, y)
				continue
			}
			to := point{p.x, y}
			if len(all) > first || y < p.y+6 || y > p.bottom()-6 {
				to.y = p.y + [...]float64{18, 29, 7}[min(len(all)-first, 2)]
			}
			all = append(all, &bundle{from: []float64{y}, to: to, way: w})
		}
	}
	s.lay(s.x.gutter2, gutter2Width, all)
}

// outY is where the wire leaves a door.
func (d *door) outY() float64 {
	if d.chain == nil && len(d.entries) > 0 {
		return d.entries[0].y
	}
	return d.out()
}

// passes tells whether a door is but a way past the doors.
func (d *door) passes() bool { return d.chain == nil && d.end.landing != path.Dropped }
