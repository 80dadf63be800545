package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// A Styler wraps text for people, and colours it for a terminal. The zero value has
// no colours.
type Styler struct{ Colour bool }

// Width is how many columns text for people has at most.
const Width = 100

// NewStyler returns the styler for a terminal or another output. Colours are for terminals,
// unless the environment says no (https://no-color.org).
func NewStyler(terminal bool, env func(string) (string, bool)) Styler {
	no, _ := env("NO_COLOR")
	term, _ := env("TERM")
	return Styler{Colour: no == "" && term != "dumb" && terminal}
}

// IsTerminal reports whether w is a character device. So is /dev/null, where colours
// do no harm.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Colours, as SGR parameters (ECMA-48).
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s Styler) in(colour, text string) string {
	if !s.Colour || text == "" || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// lines returns a text in a colour, wrapped as [wrap] does.
func (s Styler) lines(colour, text, first, indent string) string {
	return s.in(colour, strings.TrimSuffix(wrap(text, first, indent), "\n")) + "\n"
}

// wrap breaks a text at spaces so that with its indentation no line is wider than
// [Width]; a longer word stays whole. The first line starts with first.
func wrap(text, first, indent string) string { return wrapTo(Width, text, first, indent) }

// Indent wraps a text with an indentation.
func Indent(text, indent string) string { return wrap(text, indent, indent) }

// IndentFrom is Indent for a text whose first line starts otherwise.
func IndentFrom(text, first, indent string) string { return wrap(text, first, indent) }

// wrapCommand wraps a shell command so that it can be copied.
func wrapCommand(command, first, indent string) string {
	const continued = " \\"
	lines := strings.TrimSuffix(wrapTo(Width-len(continued), command, first, indent), "\n")
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

// shown replaces what is not printable: foreign rules may hold anything.
func shown(c rune) rune {
	if unicode.IsPrint(c) || unicode.IsSpace(c) {
		return c
	}
	return unicode.ReplacementChar
}

// Escape returns a text with everything escaped that does not print, but for line ends and
// tabs. The escapes are those of JSON, where the text is JSON.
func Escape(text string) string {
	hidden := func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }
	if !strings.ContainsFunc(text, hidden) && utf8.ValidString(text) { // as nearly all
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case hidden(r):
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

// ShellLine joins words to a command line for a shell.
func ShellLine(words []string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=+@"
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.Trim(w, plain) != "" {
			quoted[i] = "'" + w + "'" // no value has a quote in it
		}
	}
	return strings.Join(quoted, " ")
}
