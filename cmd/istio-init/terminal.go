package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A pen writes for people: lines of a width, and colours on a terminal. The zero
// value has no colours.
type pen struct{ colour bool }

// textWidth is how many columns text for people has at most.
const textWidth = 100

// newPen makes a pen for what is written to. Colours are for terminals, unless the
// environment says no (https://no-color.org).
func newPen(w io.Writer, env lookupEnv) pen {
	no, _ := env("NO_COLOR")
	term, _ := env("TERM")
	return pen{colour: no == "" && term != "dumb" && isTerminal(w)}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
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
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// wrap breaks a text at spaces so that with the indentation no line is wider than
// [textWidth]; a word that is longer stays whole. The first line is indented by
// first.
func wrap(text, first, indent string) string {
	var b strings.Builder
	line, columns := first, len(first)
	empty := true
	for word := range strings.FieldsSeq(text) {
		n := len([]rune(word))
		if !empty && columns+1+n > textWidth {
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
