package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"istio-init/capture/infer"
	"istio-init/netutil/inet"
)

// drawn is the canvas of readings.
func drawn(readings []*infer.Inference) *canvas {
	c := &canvas{w: measured().end + 12}
	for _, s := range sheets(readings) {
		sc := newScene(s, c)
		sc.y = c.h
		sc.draw()
		c.h = sc.y
	}
	return c
}

// area is what a text covers at the most.
func (t label) area() box {
	return box{t.x, t.y - 0.75*t.size, textWidth(t.text, t.size, t.font), t.size, ""}
}

func (b box) touches(o box) bool {
	return b.x < o.right() && o.x < b.right() && b.y < o.bottom() && o.y < b.bottom()
}

// TestTextsOfDrawingsStandFree: each stays in its box, none touches another, and no
// wire goes through one.
func TestTextsOfDrawingsStandFree(t *testing.T) {
	t.Parallel()
	everyReading(t, func(t *testing.T, readings []*infer.Inference) {
		c := drawn(readings)
		for i, text := range c.texts {
			a := text.area()
			if a.x < text.in.x || a.right() > text.in.right()+0.1 || a.x < 0 || a.right() > c.w || a.y < 0 || a.bottom() > c.h {
				t.Errorf("%q leaves its box: %+v is not in %+v", text.text, a, text.in)
			}
			if text.in.h > 0 && (a.y < text.in.y-0.1 || a.bottom() > text.in.bottom()+0.1) {
				t.Errorf("%q is above or below its box: %+v is not in %+v", text.text, a, text.in)
			}
			for _, other := range c.texts[:i] {
				if a.touches(other.area()) {
					t.Errorf("%q touches %q at %+v", text.text, other.text, a)
				}
			}
			for _, w := range c.wires {
				for j, p := range w.points[1:] {
					q := w.points[j]
					if (box{min(p.x, q.x), min(p.y, q.y), max(p.x, q.x) - min(p.x, q.x) + 0.1, max(p.y, q.y) - min(p.y, q.y) + 0.1, ""}).touches(a) {
						t.Errorf("a wire from %v to %v goes through %q", q, p, text.text)
					}
				}
			}
		}
	})
}

// TestWiresOfDifferentWaysDoNotCover: they may cross, but never run in one line.
func TestWiresOfDifferentWaysDoNotCover(t *testing.T) {
	t.Parallel()
	type piece struct {
		way    way
		lo, hi point
	}
	everyReading(t, func(t *testing.T, readings []*infer.Inference) {
		var all []piece
		for _, w := range drawn(readings).wires {
			for j, p := range w.points[1:] {
				q := w.points[j]
				if p.x != q.x && p.y != q.y {
					t.Errorf("a wire is not straight: %v to %v", q, p)
				}
				all = append(all, piece{w.way, point{min(p.x, q.x), min(p.y, q.y)}, point{max(p.x, q.x), max(p.y, q.y)}})
			}
		}
		for i, a := range all {
			for _, b := range all[:i] {
				level := a.lo.y == a.hi.y && b.lo.y == b.hi.y && a.lo.y == b.lo.y && a.lo.x < b.hi.x && b.lo.x < a.hi.x
				upright := a.lo.x == a.hi.x && b.lo.x == b.hi.x && a.lo.x == b.lo.x && a.lo.y < b.hi.y && b.lo.y < a.hi.y
				if a.way != b.way && (level || upright) {
					t.Errorf("%v covers %v", a, b)
				}
			}
		}
	})
}

// TestDrawingsAreWellFormed: they are XML without scripts and references, and no
// id is there twice.
func TestDrawingsAreWellFormed(t *testing.T) {
	t.Parallel()
	everyReading(t, func(t *testing.T, readings []*infer.Inference) {
		text := Draw(SVG, Style{}, readings...)
		if again := Draw(SVG, Style{}, readings...); again != text {
			t.Error("it is drawn in two ways")
		}
		if len(text) > 400_000 {
			t.Errorf("%d bytes are too many", len(text))
		}
		d := xml.NewDecoder(strings.NewReader(text))
		ids, names := map[string]bool{}, map[string]int{}
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			e, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			names[e.Name.Local]++
			for _, a := range e.Attr {
				if a.Name.Local == "id" && ids[a.Value] {
					t.Errorf("the id %q is there twice", a.Value)
				}
				ids[a.Value] = a.Name.Local == "id"
				if a.Name.Local == "href" || strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Value, "url(") {
					t.Errorf("%s has %s=%q", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
		if names["script"] > 0 || names["title"] != 1 || names["desc"] != 1 {
			t.Errorf("elements: %v", names)
		}
	})
}

// TestDrawingTakesTimeByTheRules: 40 times the rules take nothing like the 1,600
// times as long that comparing each with each would, on a busy machine either.
func TestDrawingTakesTimeByTheRules(t *testing.T) {
	for _, form := range Forms {
		least := func(n int) time.Duration {
			r, best := read(t, inet.IPv4, many(n)), time.Hour
			for range 3 {
				start := time.Now()
				Draw(form, Style{}, r)
				best = min(best, time.Since(start))
			}
			return best
		}
		if few, lots := least(500), least(20_000); lots > 400*few {
			t.Errorf("%s: %v for 500 rules, %v for 20,000", form, few, lots)
		}
	}
}
