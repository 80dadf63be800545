package main

import (
	"fmt"
	"regexp"
	"strings"
)

// section is the one of the manual for the administration of a system.
const section = "8"

// A help is what a command says of itself, in parts.
type help struct {
	description, usage, examples, flags string
	commands                            [][2]string // name and short description
}

// manPages makes a page for the program and one for each of its commands, from
// their own help: what the pages say is what the binary says.
func manPages(r release, tell func(...string) (string, error)) ([]file, error) {
	text, err := tell("help")
	if err != nil {
		return nil, err
	}
	root := parseHelp(text)
	var names []string
	for _, c := range root.commands {
		if c[0] != "help" && c[0] != "completion" {
			names = append(names, program+"-"+c[0])
		}
	}
	short, _, _ := strings.Cut(root.description, "\n")
	page := func(name, short string, h help) file {
		return file{name: "man/" + name + "." + section, data: []byte(r.manPage(name, short, h, append([]string{program}, names...)))}
	}
	pages := []file{page(program, strings.TrimSuffix(strings.TrimPrefix(short, program+" "), "."), root)}
	for _, c := range root.commands {
		if c[0] == "help" || c[0] == "completion" {
			continue
		}
		text, err := tell("help", c[0])
		if err != nil {
			return nil, err
		}
		pages = append(pages, page(program+"-"+c[0], c[1], parseHelp(text)))
	}
	return pages, nil
}

var commandLine = regexp.MustCompile(`(?m)^  (\S+) +(.+)$`)

// parseHelp takes the help of a command apart at its titles.
func parseHelp(text string) help {
	var h help
	parts := regexp.MustCompile(`(?m)^(Usage|Aliases|Examples|Available Commands|Flags):\n`).FindAllStringSubmatchIndex(text, -1)
	for i, at := range parts {
		end := len(text)
		if i+1 < len(parts) {
			end = parts[i+1][0]
		}
		body := strings.Trim(text[at[1]:end], "\n")
		switch text[at[2]:at[3]] {
		case "Usage":
			h.description, h.usage = strings.TrimSpace(text[:at[0]]), body
		case "Examples":
			h.examples = body
		case "Available Commands":
			for _, m := range commandLine.FindAllStringSubmatch(body, -1) {
				h.commands = append(h.commands, [2]string{m[1], m[2]})
			}
		case "Flags":
			h.flags, _, _ = strings.Cut(body, "\n\n")
		}
	}
	return h
}

// manPage is one page in the macros of man(7).
func (r release) manPage(name, short string, h help, all []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s %s %s \"%s %s\"\n", strings.ToUpper(roff(name)), section, r.time.Format("2006-01-02"), program, r.version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", roff(name), roff(short))
	writeVerbatim(&b, h.usage)
	b.WriteString(".SH DESCRIPTION\n")
	for i, paragraph := range strings.Split(h.description, "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		b.WriteString(roff(paragraph) + "\n")
	}
	if len(h.commands) > 0 {
		b.WriteString(".SH COMMANDS\n")
	}
	for _, c := range h.commands {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(c[0]), roff(c[1]))
	}
	b.WriteString(".SH OPTIONS\n")
	writeFlags(&b, h.flags)
	if h.examples != "" {
		b.WriteString(".SH EXAMPLES\n")
		writeVerbatim(&b, h.examples)
	}
	b.WriteString(".SH SEE ALSO\n")
	var others []string
	for _, other := range all {
		if other != name {
			others = append(others, fmt.Sprintf("\\fB%s\\fP(%s)", roff(other), section))
		}
	}
	b.WriteString(strings.Join(others, ",\n") + "\n")
	return b.String()
}

// aFlag is the first line of a flag in a help: the flag, and what follows after a gap.
var aFlag = regexp.MustCompile(`^ {2,6}(-\S.*?)(?:  +(\S.*))?$`)

// writeFlags writes the flags, each with the lines of its description.
func writeFlags(b *strings.Builder, flags string) {
	for line := range strings.SplitSeq(flags, "\n") {
		if m := aFlag.FindStringSubmatch(line); m != nil {
			fmt.Fprintf(b, ".TP\n.B %s\n", roff(m[1]))
			line = m[2]
		}
		if text := strings.TrimSpace(line); text != "" {
			b.WriteString(roff(text) + "\n")
		}
	}
}

// writeVerbatim writes lines as they are.
func writeVerbatim(b *strings.Builder, text string) {
	b.WriteString(".nf\n")
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(roff(strings.TrimPrefix(line, "  ")) + "\n")
	}
	b.WriteString(".fi\n")
}

// roff is a text that roff prints as it is.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
