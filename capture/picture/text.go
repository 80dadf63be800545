package picture

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible returns text with everything escaped that does not print or that would
// change its surroundings: control characters, combining marks, invalid bytes.
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

// columns returns how many columns visible text takes. Wide East Asian characters
// count as one: they are only in comments of foreign rules.
func columns(text string) int { return utf8.RuneCountInString(text) }

// A style is the role of a text, which decides its colour.
type style uint8

const (
	plain     style = iota
	faint           // numbers, lines of a tree, what is unknown
	heading         // hooks, tables, chains
	capturing       // targets that redirect to the proxy
	dropping        // targets that drop
)

// styleCodes are the SGR parameters (ECMA-48) of each style.
var styleCodes = [...]string{plain: "", faint: "2", heading: "1", capturing: "32", dropping: "31"}

// A styledText is text of one style.
type styledText struct {
	text  string
	style style
}

// A line is text of several styles.
type line []styledText

func (l line) columns() int {
	n := 0
	for _, s := range l {
		n += columns(s.text)
	}
	return n
}

// text returns a line without its styles.
func (l line) text() string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
	}
	return b.String()
}

// fill pads a line with blanks.
func (l line) fill(width int) line {
	if n := width - l.columns(); n > 0 {
		return append(slices.Clip(l), styledText{text: strings.Repeat(" ", n)})
	}
	return l
}

// print writes a line without trailing blanks.
func (l line) print(b *strings.Builder, colour bool) {
	end := len(l)
	for end > 0 && strings.TrimRight(l[end-1].text, " ") == "" {
		end--
	}
	for i, s := range l[:end] {
		if i == end-1 {
			s.text = strings.TrimRight(s.text, " ")
		}
		if colour && styleCodes[s.style] != "" {
			s.text = "\x1b[" + styleCodes[s.style] + "m" + s.text + "\x1b[0m"
		}
		b.WriteString(s.text)
	}
	b.WriteByte('\n')
}

// wrap breaks a line between words, and within a word that is longer than a line.
// Lines after the first are indented by hang columns.
func wrap(l line, width, hang int) []line {
	var lines []line
	var now line
	used := 0
	next := func() {
		lines = append(lines, now)
		now, used = line{{text: strings.Repeat(" ", hang)}}, hang
	}
	start := 0 // columns of the indentation
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
				if i := strings.LastIndexByte(head, ','); i > 0 { // a list of ports
					head = head[:i+1]
				} else if i := strings.LastIndexByte(head, ' '); i > 0 {
					head = head[:i]
				}
				now, word = append(now, styledText{head, s.style}), strings.TrimPrefix(word[len(head):], " ")
				next()
				start = hang
			}
			now, used = append(now, styledText{word, s.style}), used+columns(word)
		}
	}
	return append(lines, now)
}

// words returns the parts between which a line may be broken. An option stays with
// its value, a "!" with the option after it, an arrow with the target after it.
func words(text string) []string {
	all := strings.Split(text, " ")
	n := 0
	for i, w := range all {
		if i > 0 && sticks(all[n-1], w) {
			all[n-1] += " " + w
			continue
		}
		all[n] = w
		n++
	}
	return all[:n]
}

// sticks reports whether a word stays with those before it.
func sticks(before, w string) bool {
	last := before[strings.LastIndexByte(before, ' ')+1:]
	if last == "!" || last == "→" {
		return true
	}
	return strings.HasPrefix(last, "-") && w != "" && !strings.ContainsAny(w[:1], `-!"`) && w != "→" && len(before)+len(w) < 40
}

// cut returns the first columns of a text, at least one.
func cut(text string, width int) string {
	n := 0
	for i := range text {
		if n++; n > width && i > 0 {
			return text[:i]
		}
	}
	return text
}

// shorten cuts a text to some columns; an ellipsis replaces the rest.
func shorten(text string, width int) string {
	if columns(text) <= width {
		return text
	}
	return strings.TrimRight(cut(text, width-1), " ") + "…"
}
