package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeFlagsAreThoseOfTheProgram keeps the table of flags in the README that
// of the option table.
func TestReadmeFlagsAreThoseOfTheProgram(t *testing.T) {
	const path = "../../README.md"
	const begin, end = "<!-- flags: written by `go test ./cmd/istio-init -run Readme -update` -->\n", "<!-- end of flags -->"
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

// outputBlock is an output in the README: the command in a comment, and a fenced
// block with the command as one types it and what it then prints.
var outputBlock = regexp.MustCompile("(?ms)^(<!-- output: ([^\n]*?) -->\n```[a-z]*\n)(.*?)(^```$)")

// TestReadmeOutputsAreThoseOfTheProgram keeps each output in the README that of
// its command: a line for sh in the folder testdata/readme, with nothing in the
// environment. What it prints must not depend on the machine.
func TestReadmeOutputsAreThoseOfTheProgram(t *testing.T) {
	const path = "../../README.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := outputBlock.FindAllSubmatch(text, -1)
	if marks := strings.Count(string(text), "<!-- output: "); marks == 0 || marks != len(blocks) {
		t.Fatalf("%s has %d comments for outputs, and %d with a block after it", path, marks, len(blocks))
	}
	if *update {
		written := outputBlock.ReplaceAllFunc(text, func(block []byte) []byte {
			parts := outputBlock.FindSubmatch(block)
			return slices.Concat(parts[1], []byte(shellOutput(t, string(parts[2]))), parts[4])
		})
		if err := os.WriteFile(path, written, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, parts := range blocks {
		if diff := cmp.Diff(shellOutput(t, string(parts[2])), string(parts[3])); diff != "" {
			t.Errorf("an output in %s (-want +got; -update writes it anew):\n%s", path, diff)
		}
	}
}

// shellOutput is a command and what a terminal then shows, without the times of
// log lines.
func shellOutput(t *testing.T, command string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "sh", "-c", command)
	shell.Dir = "../../testdata/readme"
	shell.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := shell.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text := withoutTimes(string(out))
	if strings.Contains(text, "```") {
		t.Fatalf("%s: its output ends the block that it is in", command)
	}
	return "$ " + command + "\n" + text
}

// flagsTable is the option table in Markdown.
func flagsTable() string {
	var b strings.Builder
	b.WriteString("| flag | environment | default | takes | what it does |\n|---|---|---|---|---|\n")
	for _, o := range options {
		if o.group == groupRemoved {
			continue
		}
		var flags []string
		if o.long != "" {
			flags = append(flags, "`--"+o.long+"`")
		}
		if o.short != "" {
			flags = append(flags, "`-"+o.short+"`")
		}
		def := ""
		if o.def != "" {
			def = "`" + o.def + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", strings.Join(flags, " "),
			strings.Join(code(o.env), " "), def, strings.ReplaceAll(o.form.text, "*", "`*`"), strings.ReplaceAll(o.help, "*", `\*`))
	}
	return b.String()
}

func code(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, "`"+n+"`")
	}
	return out
}
