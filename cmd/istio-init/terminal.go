package main

import (
	"io"
	"os"
	"strings"
	"unicode"

	"istio-init/cmd/istio-init/options"
)

// A pen writes for people: lines of a width, and colours on a terminal. The zero
// value has no colours.
type pen struct{ colour bool }

// textWidth is how many columns text for people has at most.
const textWidth = 100

// newPen makes a pen for what is written to. Colours are for terminals, unless the
// environment says no (https://no-color.org).
func newPen(w io.Writer, env options.Env) pen {
	no, _ := env("NO_COLOR")
	term, _ := env("TERM")
	return pen{colour: no == "" && term != "dumb" && isTerminal(w)}
}

// isTerminal tells whether somebody may be looking: it is a character device. So
// is /dev/null, where nobody minds colours.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// The colours that are used, as SGR parameters (ECMA-48).
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p pen) in(colour, text string) string {
	if !p.colour || text == "" || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// lines are a text in a colour, broken as [wrap] does.
func (p pen) lines(colour, text, first, indent string) string {
	return p.in(colour, strings.TrimSuffix(wrap(text, first, indent), "\n")) + "\n"
}

// wrap breaks a text at spaces so that with the indentation no line is wider than
// [textWidth]; a word that is longer stays whole. The first line is indented by
// first.
func wrap(text, first, indent string) string { return wrapTo(textWidth, text, first, indent) }

// wrapCommand breaks a command of a shell so that it can be copied.
func wrapCommand(command, first, indent string) string {
	const continued = " \\"
	lines := strings.TrimSuffix(wrapTo(textWidth-len(continued), command, first, indent), "\n")
	return strings.ReplaceAll(lines, "\n", continued+"\n") + "\n"
}

func wrapTo(width int, text, first, indent string) string {
	var b strings.Builder
	line, columns := first, len(first)
	empty := true
	for word := range strings.FieldsSeq(strings.Map(shown, text)) {
		n := len([]rune(word))
		if !empty && columns+1+n > width {
			b.WriteString(line + "\n")
			line, columns, empty = indent, len(indent), true
		}
		if !empty {
			line, columns = line+" ", columns+1
		}
		line, columns, empty = line+word, columns+n, false
	}
	return b.String() + line + "\n"
}

// shown is a character as a terminal may get it: what is in a rule may be anybody's.
func shown(c rune) rune {
	if unicode.IsPrint(c) || unicode.IsSpace(c) {
		return c
	}
	return unicode.ReplacementChar
}
