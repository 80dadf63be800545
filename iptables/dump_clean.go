package iptables

import (
	"cmp"
	"iter"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// An Edit is what was changed in a dump so that it can be read.
type Edit struct {
	Kind  EditKind
	Line  int    // the first that was changed
	Lines int    // how many
	Text  string // what was there in the first: the prefix, the word with the dash
}

// An EditKind is what was changed.
type EditKind uint8

// The kinds of edits.
const (
	CutPrefix     EditKind = iota + 1 // what each line begins with: the prefix of a log, its number
	CutColours                        // control sequences for the colours of a terminal
	CutComments                       // comments behind rules
	PlainNewlines                     // "\n" in two characters
	PlainSpaces                       // spaces that do not break
	PlainDashes                       // typographic dashes of options, and quotes
)

// A cleaner returns the lines of a dump without what programs and people put around
// them.
type cleaner struct {
	edits  []Edit
	prefix *regexp.Regexp // what lines begin with; nil: nothing
	torn   *DumpError     // the first quote that does not end as iptables ends one
}

func (c *cleaner) edited(kind EditKind, line int, text string) {
	if i := slices.IndexFunc(c.edits, func(e Edit) bool { return e.Kind == kind }); i >= 0 {
		c.edits[i].Lines++
		return
	}
	c.edits = append(c.edits, Edit{Kind: kind, Line: line, Lines: 1, Text: text})
}

// lines returns the lines of a dump with their numbers, from 1, without the space around
// them. A rule whose comment has several lines is one.
func (c *cleaner) lines(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		rest := c.text(text)
		for n := 1; rest != ""; n++ {
			first, line := n, ""
			line, rest, _ = strings.Cut(rest, "\n")
			c.findPrefix(line, rest)
			line = strings.TrimRight(strings.TrimLeftFunc(c.plain(n, c.cutPrefix(n, line)), unicode.IsSpace), blanks)
			if strings.IndexByte(line, '"') >= 0 {
				var more int
				line, rest, more = c.join(n, line, rest)
				n += more
			}
			if !yield(first, line) {
				return
			}
		}
	}
}

// join adds to a rule the next lines, as long as a quote is open. A quote that has no end
// is noted, or one behind whose end there is no space: it is not as iptables writes it.
func (c *cleaner) join(n int, line, rest string) (_, _ string, more int) {
	const longest = 1 << 16 // of several lines: a comment has at most 256 bytes
	if _, _, isRule := cutRule(line); !isRule {
		return line, rest, 0
	}
	first := line
	for quote := nextQuote(line, 0); quote >= 0; {
		end, closed := quoteClose(line, quote)
		if !closed && rest != "" {
			to := lineEnd(rest, quoteEnd(rest, -1))
			for next := range strings.SplitSeq(rest[:to], "\n") {
				more++
				line += "\n" + c.cutPrefix(n+more, next)
				if len(line) > longest {
					break
				}
			}
			rest = strings.TrimPrefix(rest[to:], "\n")
			end, closed = quoteClose(line, quote)
		}
		if !closed || end < len(line) && !strings.Contains(blanks, line[end:end+1]) || more > 0 && len(line) > longest {
			c.torn = cmp.Or(c.torn, &DumpError{n, first, openQuote})
			break
		}
		quote = nextQuote(line, end)
	}
	return strings.TrimRight(line, blanks), rest, more
}

// hardSpaces are the spaces that do not break.
const hardSpaces = "\u00a0\u2007\u202f"

var (
	// escapedTable is the first line of a table in a text whose line ends are "\n" in two
	// characters, as in a log in JSON.
	escapedTable = pattern{text: `(?:^|\\n)\*[a-z]+\\n`}
	bareQuote    = pattern{text: ` --[a-z-]+ "`}
	wholeTable   = pattern{text: `(?m)^\s*\*[a-z]+\s*$`}
	// colours are the control sequences SGR and EL of ECMA-48, as grep --color prints.
	colours = pattern{text: `\x1b\[[0-9;]*[mK]`}
	// hardSpace is a space that does not break where iptables prints one.
	hardSpace = pattern{text: `(?m)^\s*(?:-[APN]|:\S+?|#.*Generated)[` + hardSpaces + `]`}
)

// text makes the whole text plain: its line ends and spaces, without colours.
func (c *cleaner) text(text string) string {
	if strings.HasPrefix(text, "\xff\xfe") {
		text = fromUTF16(text)
	}
	text = strings.TrimPrefix(text, "\ufeff") // the byte order mark of Windows
	if strings.Contains(text, `\n`) && !wholeTable.re().MatchString(text) {
		escapes := []string{`\n`, "\n", `\t`, "\t", `\r`, ""}
		if !bareQuote.re().MatchString(text) { // the quotes of comments are escaped too
			escapes = append(escapes, `\"`, `"`, `\\`, `\`)
		}
		text = c.replace(PlainNewlines, escapedTable.re(), text, func() string { return strings.NewReplacer(escapes...).Replace(text) })
	}
	if strings.Contains(text, "\x1b") {
		text = c.replace(CutColours, colours.re(), text, func() string { return colours.re().ReplaceAllString(text, "") })
	}
	if strings.ContainsAny(text, hardSpaces) {
		text = c.replace(PlainSpaces, hardSpace.re(), text, func() string {
			return strings.NewReplacer("\u00a0", " ", "\u2007", " ", "\u202f", " ", "\u200b", "", "\ufeff", "").Replace(text)
		})
	}
	return text
}

// fromUTF16 decodes what a redirection of PowerShell writes: UTF-16, the low byte first.
func fromUTF16(text string) string {
	units := make([]uint16, len(text)/2)
	for i := range units {
		units[i] = uint16(text[2*i]) | uint16(text[2*i+1])<<8
	}
	return string(utf16.Decode(units))
}

// replace makes a text plain that matches.
func (c *cleaner) replace(kind EditKind, re *regexp.Regexp, text string, plain func() string) string {
	at := re.FindStringIndex(text)
	if at == nil {
		return text
	}
	c.edited(kind, 1+strings.Count(text[:at[0]], "\n"), "")
	return plain()
}

// begins matches a line with which a dump or a table begins, and what is before that.
var begins = pattern{text: `^(.+?)(?:# Generated by ip6?tables\S*-save .*|\*(?:raw|mangle|nat|filter|security)|-P (?:PREROUTING|INPUT) (?:ACCEPT|DROP)(?: -c \d+ \d+)?)\s*$`}

// findPrefix takes what a dump or a table begins with in this line, if the next line has it
// too: the prefix of a log, in which numbers and times differ, or the number of the line.
func (c *cleaner) findPrefix(line, rest string) {
	if !strings.Contains(line, "*") && !strings.Contains(line, "-P ") && !strings.Contains(line, "# G") {
		return // as nearly all
	}
	m := begins.re().FindStringSubmatch(line)
	if m == nil || strings.TrimSpace(m[1]) == "" || commands.re().MatchString(line) || c.prefix != nil && c.prefix.MatchString(line) {
		return
	}
	const longest = 200
	if len(m[1]) > longest || !utf8.ValidString(m[1]) {
		return
	}
	next, _, _ := strings.Cut(rest, "\n")
	prefix := prefixPattern(m[1])
	if at := prefix.FindStringIndex(next); at != nil && tableLine.re().MatchString(next[at[1]:]) {
		c.prefix = prefix
	}
}

// cutPrefix cuts what the lines of the dump begin with.
func (c *cleaner) cutPrefix(n int, line string) string {
	if c.prefix == nil {
		return line
	}
	at := c.prefix.FindStringIndex(line)
	if at == nil {
		return line
	}
	c.edited(CutPrefix, n, line[:at[1]])
	return line[at[1]:]
}

// tableLine matches a line of a table.
var tableLine = pattern{text: `^\s*(?:\*\s*[a-z]+\s*$|:\S+\s|(?:\[\d+:\d+\] )?-[A-Z] \S|COMMIT\s*$)`}

var variable = pattern{text: `\d+|\s+`}

// prefixPattern matches a prefix with any numbers and spaces.
func prefixPattern(prefix string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`^\s*`)
	prefix = strings.TrimLeft(prefix, " \t")
	at := 0
	for _, v := range variable.re().FindAllStringIndex(prefix, -1) {
		b.WriteString(regexp.QuoteMeta(prefix[at:v[0]]))
		switch at = v[1]; {
		case prefix[v[0]] >= '0' && prefix[v[0]] <= '9':
			b.WriteString(`\d+`)
		case at == len(prefix):
			b.WriteString(`(?:\s+|$)`)
		default:
			b.WriteString(`\s+`)
		}
	}
	return regexp.MustCompile(b.String() + regexp.QuoteMeta(prefix[at:]))
}
