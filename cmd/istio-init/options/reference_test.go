package options

import (
	goflag "flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = goflag.Bool("update", false, "write what is expected anew: the flags of docs/reference.md, the schema")

// TestReferenceFlagsAreThoseOfTheProgram keeps the table of flags in docs/reference.md that
// of the option table.
func TestReferenceFlagsAreThoseOfTheProgram(t *testing.T) {
	const path = "../../../docs/reference.md"
	const begin, end = "<!-- flags: written by `go test ./cmd/istio-init/options -run Reference -update` -->\n", "<!-- end of flags -->"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	got, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the flags: %q ... %q", path, begin, end)
	}
	want := flagsTable()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the flags of %s (-want +got; -update writes them anew):\n%s", path, diff)
	}
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
