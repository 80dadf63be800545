package picture

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Format is a notation for rules. The zero value is that of iptables-save.
type Format uint8

// The formats.
const (
	Save Format = iota
	Tree
	Table
	JSON
	Dot
	Mermaid
)

// Formats are all formats, in the order of the help text.
var Formats = [...]Format{Save, Tree, Table, JSON, Dot, Mermaid}

var formatNames = [...]string{"save", "tree", "table", "json", "dot", "mermaid"}

// String returns the name that UnmarshalText takes.
func (f Format) String() string { return formatNames[f] }

// MarshalText is the inverse of UnmarshalText.
func (f Format) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText takes the name of a format.
func (f *Format) UnmarshalText(text []byte) error {
	i := slices.Index(formatNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("is not one of %s", strings.Join(formatNames[:], ", "))
	}
	*f = Format(i)
	return nil
}

// A Terminal describes where the formats tree and table are shown. The zero value
// is a file.
type Terminal struct {
	Width  int  // in columns; zero: 100, and never less than 60
	Colour bool // with ANSI colours
}

const (
	defaultWidth = 100
	minWidth     = 60
)

func (t Terminal) width() int {
	if t.Width == 0 {
		return defaultWidth
	}
	return max(t.Width, minWidth)
}

// A Reason says why a rule is there, by its role; "": unknown.
type Reason func(iptables.Rule) string

// Draw returns the rules of readings, at most one of each family, with their reasons. The
// text ends with a line break; it is "" where the format has nothing to show.
func Draw(format Format, on Terminal, reason Reason, readings ...*infer.Inference) string {
	switch format {
	case Tree:
		return drawTree(on, views(readings, reason))
	case Table:
		return drawTable(on, views(readings, reason))
	case JSON:
		return drawJSON(readings, reason)
	case Dot:
		return drawDot(views(readings, reason))
	case Mermaid:
		return drawMermaid(views(readings, reason))
	case Save:
	}
	return drawSave(readings)
}

var saveTool = inet.PerFamily[string]{inet.IPv4: "iptables-save", inet.IPv6: "ip6tables-save"}

// drawSave prints rules as iptables-save does, under the name of the program of
// each family.
func drawSave(readings []*infer.Inference) string {
	var b strings.Builder
	for _, r := range readings {
		if r != nil && len(r.Rules.Tables) > 0 {
			fmt.Fprintf(&b, "# %s\n", saveTool[r.Rules.Family])
			b.WriteString(r.Rules.String())
		}
	}
	return b.String()
}
