package picture

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
)

// A Form is how rules are shown. The zero value is as iptables-save prints them.
type Form uint8

// The forms.
const (
	Save Form = iota
	Tree
	Table
	JSON
	Dot
	Mermaid
)

// Forms are all forms, in the order in which they are listed.
var Forms = [...]Form{Save, Tree, Table, JSON, Dot, Mermaid}

var formNames = [...]string{"save", "tree", "table", "json", "dot", "mermaid"}

// String returns the name that UnmarshalText takes.
func (f Form) String() string { return formNames[f] }

// MarshalText is the inverse of UnmarshalText.
func (f Form) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText takes the name of a form.
func (f *Form) UnmarshalText(text []byte) error {
	i := slices.Index(formNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("is not one of %s", strings.Join(formNames[:], ", "))
	}
	*f = Form(i)
	return nil
}

// A Style is what the forms for a terminal need to know of it. The zero Style is
// for a file.
type Style struct {
	Width  int  // in columns; zero: 100, and never less than 60
	Colour bool // with ANSI colours
}

const (
	usualWidth = 100
	leastWidth = 60
)

func (s Style) width() int {
	if s.Width == 0 {
		return usualWidth
	}
	return max(s.Width, leastWidth)
}

// Draw shows the rules of readings: one for each family, at most. The text ends
// with a line break, or is "" where the form has nothing to say.
func Draw(form Form, style Style, readings ...*capture.Reading) string {
	switch form {
	case Tree:
		return drawTree(style, sheets(readings))
	case Table:
		return drawTable(style, sheets(readings))
	case JSON:
		return drawJSON(readings)
	case Dot:
		return drawDot(sheets(readings))
	case Mermaid:
		return drawMermaid(sheets(readings))
	}
	return drawSave(readings)
}
