package picture

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible returns text of which everything prints: what does not, and what would
// move what is beside it, is escaped.
func visible(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case r == '\n':
			b.WriteString(`\n`)
		case unicode.IsPrint(r) && !unicode.Is(unicode.M, r):
			b.WriteString(text[:n])
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
		text = text[n:]
	}
	return b.String()
}

// wide are the characters that take two columns of a terminal (Unicode, East
// Asian Width W and F).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1},
		{Lo: 0x231a, Hi: 0x231b, Stride: 1},
		{Lo: 0x23e9, Hi: 0x23f3, Stride: 1},
		{Lo: 0x25fd, Hi: 0x25fe, Stride: 1},
		{Lo: 0x2614, Hi: 0x27bf, Stride: 1},
		{Lo: 0x2b1b, Hi: 0x2b55, Stride: 1},
		{Lo: 0x2e80, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xa960, Hi: 0xa97f, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1},
		{Lo: 0xfe10, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1},
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0x16fe0, Hi: 0x1b2ff, Stride: 1}, {Lo: 0x1f000, Hi: 0x1faff, Stride: 1}, {Lo: 0x20000, Hi: 0x3fffd, Stride: 1}},
}

// columns returns how many columns a visible text takes.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x1100 && unicode.Is(wide, r) {
			n++
		}
	}
	return n
}

// An ink says what a text is, and by that its colour.
type ink uint8

const (
	plain  ink = iota
	faint      // what holds the rest together
	strong     // hooks, chains
	taken      // what captures
	lost       // what drops
)

// codes are the colours of ANSI X3.64 for each ink.
var codes = [...]string{plain: "", faint: "2", strong: "1", taken: "32", lost: "31"}

// A span is text of one ink.
type span struct {
	text string
	ink  ink
}

// A line is text of several inks.
type line []span

func (l line) columns() int {
	n := 0
	for _, s := range l {
		n += columns(s.text)
	}
	return n
}

// fill returns the line with blanks behind it.
func (l line) fill(width int) line {
	if n := width - l.columns(); n > 0 {
		return append(l[:len(l):len(l)], span{text: strings.Repeat(" ", n)})
	}
	return l
}

// print writes a line without blanks at its end.
func (l line) print(b *strings.Builder, colour bool) {
	end := len(l)
	for end > 0 && strings.TrimRight(l[end-1].text, " ") == "" {
		end--
	}
	for i, s := range l[:end] {
		if i == end-1 {
			s.text = strings.TrimRight(s.text, " ")
		}
		if colour && codes[s.ink] != "" {
			s.text = "\x1b[" + codes[s.ink] + "m" + s.text + "\x1b[0m"
		}
		b.WriteString(s.text)
	}
	b.WriteByte('\n')
}

// wrap breaks a line between words where it has to, and within a word where that
// is longer than a line. The lines behind the first are hung by some columns.
func wrap(l line, width, hang int) []line {
	var lines []line
	var now line
	used := 0
	next := func() {
		lines = append(lines, now)
		now, used = line{{text: strings.Repeat(" ", hang)}}, hang
	}
	start := 0 // columns of now that are no words
	for _, s := range l {
		for i, word := range words(s.text) {
			if i > 0 && used > start {
				word = " " + word
			}
			if used > start && used+columns(word) > width {
				next()
				start = hang
				word = strings.TrimPrefix(word, " ")
			}
			for used+columns(word) > width {
				head := cut(word, width-used)
				if i := strings.LastIndexByte(head, ','); i > 0 { // of a list of ports
					head = head[:i+1]
				} else if i := strings.LastIndexByte(head, ' '); i > 0 {
					head = head[:i]
				}
				now, word = append(now, span{head, s.ink}), strings.TrimPrefix(word[len(head):], " ")
				next()
				start = hang
			}
			now, used = append(now, span{word, s.ink}), used+columns(word)
		}
	}
	return append(lines, now)
}

// words are what a line may be broken between. An option is not torn from its
// value, a "!" from what it negates, nor an arrow from what it points at.
func words(text string) []string {
	all := strings.Split(text, " ")
	n := 0
	for i, w := range all {
		if i > 0 && hold(all[n-1], w) {
			all[n-1] += " " + w
			continue
		}
		all[n] = w
		n++
	}
	return all[:n]
}

// hold tells whether a word stays with those before it.
func hold(before, w string) bool {
	last := before[strings.LastIndexByte(before, ' ')+1:]
	if last == "!" || last == "→" {
		return true
	}
	return strings.HasPrefix(last, "-") && w != "" && !strings.ContainsAny(w[:1], `-!"`) && w != "→" && len(before)+len(w) < 40
}

// cut returns the most of a text that some columns hold, and at least its first
// character.
func cut(text string, width int) string {
	n := 0
	for i, r := range text {
		if n += columns(string(r)); n > width && i > 0 {
			return text[:i]
		}
	}
	return text
}

// shorten returns a text of at most so many columns; what is cut off shows as an
// ellipsis.
func shorten(text string, width int) string {
	if columns(text) <= width {
		return text
	}
	return strings.TrimRight(cut(text, width-1), " ") + "…"
}
