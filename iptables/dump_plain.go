package iptables

import (
	"cmp"
	"regexp"
	"strings"
)

var (
	smartQuote = pattern{text: `[“”„]`}
	smartDash  = pattern{text: `(?:^|\s)-*[‐-―−][‐-―−-]*[A-Za-z]*`}
	dashes     = pattern{text: `[‐-―−-]+`}
	// noteBehind is a comment behind a word that is no option: the name of an interface may
	// begin with "#".
	noteBehind  = pattern{text: `(?:^|\s)[^\s-]\S*\s+#.*$`}
	countBehind = pattern{text: ` -c \d+ \d+(?: |$)`}
)

// plain makes a line of a table plain: without the comment that somebody wrote behind it,
// and with the dashes and quotes that iptables prints. Any other line stays as it is.
func (c *cleaner) plain(n int, line string) string {
	edited := line
	if strings.Contains(line, "\xe2") {
		edited = replaceUnquoted(edited, smartQuote.re(), func(string) string { return `"` })
		edited = replaceUnquoted(edited, smartDash.re(), plainOption)
		if edited != line && tableLine.re().MatchString(edited) {
			c.edited(PlainDashes, n, strings.TrimSpace(cmp.Or(smartDash.re().FindString(line), smartQuote.re().FindString(line))))
			line = edited
		}
	}
	if strings.Contains(line, "#") {
		edited = replaceUnquoted(line, noteBehind.re(), beforeNote)
		if edited != line && tableLine.re().MatchString(edited) {
			c.edited(CutComments, n, strings.TrimSpace(line[len(edited):]))
			line = edited
		}
	}
	if strings.Contains(line, " -c ") { // iptables -S -v
		line = replaceUnquoted(line, countBehind.re(), func(s string) string { return s[len(strings.TrimRight(s, " ")):] })
	}
	return line
}

// beforeNote is a word without the comment behind it.
func beforeNote(text string) string {
	const spaces = "\t\n\f\r " // \s
	word := strings.TrimLeft(text, spaces)
	return text[:len(text)-len(word)+strings.IndexAny(word, spaces)]
}

// plainOption is an option as iptables prints it: one of several letters has two dashes.
func plainOption(option string) string {
	space := option[:len(option)-len(strings.TrimSpace(option))]
	name := option[len(space)+len(dashes.re().FindString(option[len(space):])):]
	if len(name) > 1 {
		return space + "--" + name
	}
	return space + "-" + name
}

// replaceUnquoted replaces what matches outside of quoted words.
func replaceUnquoted(line string, re *regexp.Regexp, with func(string) string) string {
	mask := unquoted(line)
	var b strings.Builder
	at := 0
	for _, m := range re.FindAllStringIndex(mask, -1) {
		b.WriteString(line[at:m[0]] + with(line[m[0]:m[1]]))
		at = m[1]
	}
	return b.String() + line[at:]
}

// unquoted is a line in which "x" stands for each byte of its quoted values.
func unquoted(line string) string {
	quote := nextQuote(line, 0)
	if quote < 0 {
		return line
	}
	mask := []byte(line)
	for quote >= 0 {
		end := quoteEnd(line, quote)
		for i := quote; i < end; i++ {
			mask[i] = 'x'
		}
		quote = nextQuote(line, end)
	}
	return string(mask)
}
