package picture

import (
	"fmt"
	"strings"

	"istio-init/capture"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A scene is the pod of a sheet, as it is drawn: on the left what is outside; in
// the pod, from left to right, the hooks with their chains, the chains that
// capture, and the proxy. Below what comes in is what goes out.
//
//	 peers ─▶ PREROUTING   chains ─▶ chains that capture ─▶ proxy
//	                          └─────────────────────▶ app ◀──┤
//	          ┌─────────────────────────────────────────┴────┘
//	          ▼ OUTPUT     chains ─▶ chains that capture ─▶ proxy, agent
//	elsewhere ◀───────────────┘
type scene struct {
	*sheet
	*canvas
	x        columnsOf
	y        float64           // where the next thing is drawn
	exits    []exit            // of rules, to the right
	doors    []*door           // chains that capture, and what leads past them
	cards    map[place]float64 // of chains that have one: where a wire enters it
	cardWays map[place][]way   // of wires that enter there, in their order
	app      box
	toHook   float64 // the line by which the sockets reach OUTPUT
	ends     map[int]float64
	many     int            // chains that got no card
	called   map[place]bool // by a built-in chain
	doorY    float64        // from where on there is room for a door
	lane0    float64        // where the doors of the side begin
	leaving  bool           // packets leave the pod
}

// columnsOf are the columns of a scene: where each begins and how wide it is.
type columnsOf struct {
	outside, pod, cards, gutter, doors, gutter2, places, end float64
}

// The measures of a scene, in pixels.
const (
	outsideWidth = 74
	cardWidth    = 446
	doorWidth    = 182
	placeWidth   = 104
	gutterWidth  = 62
	gutter2Width = 36
	slotWidth    = 9
	podMargin    = 14
	fontSize     = 12
	smallSize    = 10.5
	mostCards    = 24
)

func measured() columnsOf {
	var x columnsOf
	x.outside = 12
	x.pod = x.outside + outsideWidth + 30
	x.cards = x.pod + podMargin
	x.gutter = x.cards + cardWidth
	x.doors = x.gutter + gutterWidth
	x.gutter2 = x.doors + doorWidth
	x.places = x.gutter2 + gutter2Width
	x.end = x.places + placeWidth + podMargin + 6
	return x
}

// drawSVG draws sheets one below the other.
func drawSVG(sheets []*sheet) string {
	c := &canvas{w: measured().end + 12}
	y := 0.0
	var titles, descs []string
	for _, s := range sheets {
		sc := newScene(s, c)
		sc.y = y
		sc.draw()
		y = sc.y
		titles, descs = append(titles, sc.heading()), append(descs, sc.describe())
	}
	if len(sheets) == 0 {
		c.text(box{0, 0, c.w, 40, ""}, 16, 26, fontSize, sans, "faint", "no rules were read")
		titles, y = []string{"no rules"}, 40
	}
	c.h = y
	return c.svg(strings.Join(titles, "; "), strings.Join(descs, " "))
}

func newScene(s *sheet, on *canvas) *scene {
	return &scene{sheet: s, canvas: on, x: measured(), cards: map[place]float64{}, cardWays: map[place][]way{}, ends: map[int]float64{}, called: map[place]bool{}}
}

// heading says what is drawn.
func (s *scene) heading() string {
	what := "no rules of a mesh"
	if s.captures {
		what = "mode " + s.config.Mode.String()
	}
	names := s.families[0].String()
	if len(s.families) > 1 {
		names += " and " + s.families[1].String()
	}
	return fmt.Sprintf("%s, %s, %s", what, names, count(s.rules()*len(s.families), "rule"))
}

// describe tells in words what the drawing shows.
func (s *scene) describe() string {
	text := "The ways of packets through the hooks and chains of " + s.heading() + "."
	for _, c := range s.chains {
		for _, r := range c.rows {
			if e, ok := s.end(c, r); ok && c.own && (e.landing == path.Inbound || e.landing == path.Outbound) && e.port != 0 && len(text) < 600 {
				text += fmt.Sprintf(" %s leads to the %s.", visible(c.name), e.name(false))
			}
		}
	}
	return text
}

// draw draws the whole from top to bottom.
func (s *scene) draw() {
	top := s.y
	s.text(box{0, top, s.w, 40, ""}, s.x.outside, top+26, 15, bold, "", s.heading())
	pod := len(s.boxes)
	s.box(s.x.pod, top+42, s.x.end-s.x.pod, 0, "pod")
	s.y, s.doorY = top+56, top+56
	for _, c := range s.chains {
		for _, r := range c.rows {
			if c.builtin && r.goes != "" {
				s.called[place{c.table, r.goes}] = true
			}
		}
	}
	s.lane(false, iptables.Prerouting, input, forward)
	s.sockets()
	s.lane(true, iptables.Output, postrouting)
	bottom := s.route()
	s.boxes[pod].h = bottom - s.boxes[pod].y
	s.y = bottom + 12
	s.notes()
	s.legend()
}

// lane draws the hooks of one side, and the chains that capture what they see.
func (s *scene) lane(out bool, names ...string) {
	first := len(s.exits)
	for _, h := range hooks {
		for i, name := range names {
			if h.name == name && (i == 0 || s.busy(h)) {
				s.hook(h, out)
			}
		}
	}
	s.y = max(s.y, s.placeDoors(s.exits[first:])) + 10
	s.doorY, s.lane0 = s.y, s.y
}

// busy tells whether a hook has rules.
func (s *scene) busy(h hook) bool {
	for _, t := range h.tables {
		if c := s.find(t, h.name); c != nil && (len(c.rows) > 0 || c.drops) {
			return true
		}
	}
	return false
}

// sockets draws the app, between what comes in and what goes out, and the line by
// which connections of the pod reach OUTPUT.
func (s *scene) sockets() {
	s.app = s.box(s.x.doors, s.y, doorWidth, 54, "place")
	s.text(s.app, s.app.x+10, s.app.y+18, 13, bold, "", "app")
	if says := s.fromProxy(); says != "" {
		for i, l := range lines(says, doorWidth-20, smallSize, sans, 2) {
			s.text(s.app, s.app.x+10, s.app.y+32+13*float64(i), smallSize, sans, "faint", l)
		}
	}
	s.toHook = s.app.bottom() + 16
	s.text(box{s.x.cards, s.toHook - 18, cardWidth, 18, ""}, s.x.cards+34, s.toHook-6, smallSize, sans, "faint", "what the app, the proxy and the agent send")
	s.y = s.toHook + 20
	s.doorY, s.lane0 = s.y, s.y
}

// fromProxy tells as whom the proxy calls the app.
func (s *scene) fromProxy() string {
	if !s.captures || s.config.InboundPort == 0 {
		return ""
	}
	if s.config.Mode == capture.TProxy {
		return "called by the proxy by lo from the client's address"
	}
	var addrs []string
	for _, f := range s.families {
		addrs = append(addrs, map[inet.Family]string{inet.IPv4: "127.0.0.6", inet.IPv6: "::6"}[f])
	}
	return "called by the proxy by lo from " + strings.Join(addrs, "|")
}

// notes tells what the drawing does not show.
func (s *scene) notes() {
	var unused []string
	others, left := 0, 0
	for _, c := range s.chains {
		_, drawn := s.cards[c.place]
		switch {
		case c.builtin || drawn:
		case !c.own:
			others++
			left += len(c.rows)
		case s.many == 0:
			unused = append(unused, c.table+" "+visible(c.name))
		}
	}
	var all []string
	if len(unused) > 0 {
		all = append(all, "No rule leads to "+shorten(strings.Join(unused, ", "), 200)+".")
	}
	if others > 0 {
		all = append(all, fmt.Sprintf("Not drawn: %s of others with %s.", count(others, "chain"), count(left, "rule")))
	}
	if s.many > 0 {
		all = append(all, fmt.Sprintf("Not drawn: %s more.", count(s.many, "chain")))
	}
	for _, n := range all {
		for _, l := range lines(n, s.w-2*s.x.outside, smallSize, sans, 2) {
			s.text(box{0, s.y, s.w, 16, ""}, s.x.outside, s.y+11, smallSize, sans, "faint", l)
			s.y += 16
		}
	}
}

// legend says what the lines mean.
func (s *scene) legend() {
	x := s.x.outside
	used := map[way]bool{}
	for _, w := range s.wires {
		used[w.way] = true
	}
	for w, what := range [...]string{"comes in", "goes out", "the pod calls itself", "left alone by these rules", "dropped"} {
		if !used[way(w)] {
			continue
		}
		s.wire(way(w), true, point{x, s.y + 8}, point{x + 38, s.y + 8})
		s.text(box{x, s.y, 220, 16, ""}, x+44, s.y+12, smallSize, sans, "", what)
		x += 44 + textWidth(what, smallSize, sans) + 22
	}
	s.y += 26
}
