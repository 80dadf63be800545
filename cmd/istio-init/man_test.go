package main

import (
	goflag "flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"istio-init/cmd/istio-init/options"
	"istio-init/test/golden"
)

var manDir = goflag.String("man", "", "write the man pages into this directory, as hack/dist does")

// TestManPagesHaveEveryFlag writes the man pages and looks for the commands, their flags and
// their exit codes.
func TestManPagesHaveEveryFlag(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	root := newRoot(streams{})
	for _, c := range append(root.Commands(), root) {
		if !c.IsAvailableCommand() && c != root {
			continue // cobra's own "help"
		}
		path := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".8")
		if err := os.WriteFile(path, md2man.Render([]byte(manPage(c))), 0o644); err != nil {
			t.Fatal(err)
		}
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(strings.ReplaceAll(string(page), `\-`, "-"), "--"+f.Name) {
				t.Errorf("the page of %s has no --%s", c.Name(), f.Name)
			}
		})
		if c != root && !strings.Contains(string(page), "EXIT STATUS") {
			t.Errorf("the page of %s has no exit codes", c.Name())
		}
	}
}

// manPage is the man page of a command in Markdown: its sections are those of its help.
func manPage(c *cobra.Command) string {
	var b strings.Builder
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	text := func(s string) string { return strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`).Replace(s) }
	fmt.Fprintf(&b, "%% %q \"8\" %q %q\n# NAME\n%s - %s\n# SYNOPSIS\n**%s**\n", strings.ToUpper(name), manDate(), programName+" "+release, name, text(c.Short), text(c.UseLine()))
	if long := c.Long; long != "" {
		fmt.Fprintf(&b, "# DESCRIPTION\n%s\n", text(long))
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("# COMMANDS\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "**%s**\n: %s\n\n", sub.CommandPath(), text(sub.Short))
			}
		}
	}
	b.WriteString("# OPTIONS\n")
	for _, s := range options.Sections(c.LocalFlags()) {
		fmt.Fprintf(&b, "### %s\n", s.Title)
		s.Flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			short := ""
			if f.Shorthand != "" {
				short = "**-" + f.Shorthand + "**, "
			}
			value, usage := pflag.UnquoteUsage(f)
			fmt.Fprintf(&b, "%s**--%s** %s\n: %s\n\n", short, f.Name, text(value), text(usage))
		})
	}
	if takesOptions(c) {
		manRows(&b, "ENVIRONMENT", environmentRows(c.Name()), text)
		manRows(&b, "FILES", fileRows(c.Name()), text)
	}
	var codes []row
	for _, s := range exitStatuses[c.Name()] {
		codes = append(codes, row{fmt.Sprint(s.code), s.when})
	}
	manRows(&b, "EXIT STATUS", codes, text)
	if c.HasExample() {
		fmt.Fprintf(&b, "# EXAMPLES\n```\n%s\n```\n", c.Example)
	}
	return b.String()
}

// manDate is the month of the release; "" for none.
func manDate() string {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format("Jan 2006")
}

func manRows(b *strings.Builder, title string, rows []row, text func(string) string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "# %s\n", title)
	for _, r := range rows {
		fmt.Fprintf(b, "**%s**\n: %s\n\n", text(r.name), text(r.text))
	}
}

// TestExitCodesAreThoseOfTheDocument keeps the table of docs/exit-codes.md.
func TestExitCodesAreThoseOfTheDocument(t *testing.T) {
	const begin, end = "<!-- codes: written by `go test ./cmd/istio-init -run ExitCodes -update` -->\n", "<!-- end of codes -->"
	golden.Section(t, "../../docs/exit-codes.md", begin, end, exitCodesTable(t))
}

// exitCodesTable is the table of exit codes in Markdown. Every command has to have them.
func exitCodesTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| command | code | when |\n|---|---|---|\n")
	root := newRoot(streams{})
	for _, name := range []string{applyCommand, cleanCommand, "check", "trace", "explain", "version", "config-schema", "completion", "help"} {
		if len(exitStatuses[name]) == 0 {
			t.Errorf("%s has no exit codes", name)
		}
		for _, s := range exitStatuses[name] {
			fmt.Fprintf(&b, "| `%s` | %d | %s |\n", name, s.code, s.when)
		}
	}
	for _, c := range root.Commands() {
		if len(exitStatuses[c.Name()]) == 0 {
			t.Errorf("%s has no exit codes", c.Name())
		}
	}
	return b.String()
}
