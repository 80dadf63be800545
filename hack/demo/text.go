package main

import (
	"fmt"
	"strings"
)

// width is that of the narrowest terminal that is still in use, and some more.
const width = 100

// title begins a part of the show.
func title(text string) { fmt.Printf("\n=== %s\n", text) }

// align puts the cells of rows one below the other.
func align(rows [][]string) string {
	const gap = 3
	widths := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell)+gap)
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", widths[i]-len(cell))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// fold breaks lines that are too long, before an option if there is one and else
// at a space, with a backslash as in a shell.
func fold(text string) string {
	const indent, mark = "      ", ` \`
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		for len(line) > width {
			fits := line[:width-len(mark)+1]
			at := strings.LastIndex(fits, " -")
			if at <= len(indent) {
				at = strings.LastIndex(fits, " ")
			}
			if at <= len(indent) {
				break // one long word
			}
			b.WriteString(line[:at] + mark + "\n")
			line = indent + line[at+1:]
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
