package options

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"istio-init/test/golden"
)

// TestReferenceFlagsAreThoseOfTheProgram keeps the table of flags in docs/reference.md that
// of the option table.
func TestReferenceFlagsAreThoseOfTheProgram(t *testing.T) {
	const begin, end = "<!-- flags: written by `go test ./cmd/istio-init/options -run Reference -update` -->\n", "<!-- end of flags -->"
	golden.Section(t, "../../../docs/reference.md", begin, end, flagsTable())
}

// flagsTable is the option table in Markdown, by section.
func flagsTable() string {
	var b strings.Builder
	for i, title := range sectionTitles {
		of := slices.DeleteFunc(slices.Clone(options), func(o *option) bool { return o.section != section(i) || o.group == groupRemoved })
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(&b, "### %s\n\n| flag | environment | default | takes | what it does |\n|---|---|---|---|---|\n", title)
		for _, o := range of {
			b.WriteString(o.tableRow())
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "### Old names\n\nAccepted, with a warning, and without effect: %s.\n\n", OldNames())
	for _, c := range commands {
		if len(c.own) == 0 {
			continue
		}
		fmt.Fprintf(&b, "### Only of %s\n\n| flag | environment | default | takes | what it does |\n|---|---|---|---|---|\n", c.name)
		for _, o := range c.own {
			b.WriteString(o.tableRow())
		}
		b.WriteString("\n")
	}
	return b.String()
}

// tableRow is the option as a row in Markdown.
func (o *option) tableRow() string {
	var flags []string
	if o.long != "" {
		flags = append(flags, strings.TrimSpace("`--"+o.long+" "+strings.ReplaceAll(o.form.placeholder, "|", "\\|"))+"`")
	}
	if o.short != "" {
		flags = append(flags, "`-"+o.short+"`")
	}
	def := ""
	if o.def != "" {
		def = "`" + o.def + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", strings.Join(flags, " "),
		strings.Join(code(o.env), " "), def, strings.ReplaceAll(o.form.text, "*", "`*`"), strings.ReplaceAll(o.help, "*", `\*`))
}

func code(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, "`"+n+"`")
	}
	return out
}
