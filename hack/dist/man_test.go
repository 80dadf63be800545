package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManPagesHaveAllThatTheHelpHas looks for every command and every flag, and
// for lines that roff would take for something else than text.
func TestManPagesHaveAllThatTheHelpHas(t *testing.T) {
	tell := teller(t, built(t))
	pages, err := manPages(some, tell)
	if err != nil {
		t.Fatal(err)
	}
	macros := []string{".TH", ".SH", ".TP", ".PP", ".B", ".nf", ".fi"}
	for _, page := range pages {
		name := strings.TrimSuffix(strings.TrimPrefix(page.name, "man/"), "."+section)
		text := string(page.data)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, ".") && !slices.Contains(macros, strings.Fields(line)[0]) || strings.HasPrefix(line, "'") {
				t.Errorf("%s: roff does not take this for text: %s", page.name, line)
			}
		}
		_, command, _ := strings.Cut(name, program)
		help, err := tell(append([]string{"help"}, strings.Fields(strings.TrimPrefix(command, "-"))...)...)
		if err != nil {
			t.Fatal(err)
		}
		flags := regexp.MustCompile(`(?m)^ {2,6}(-\w, )?--[\w-]+`).FindAllString(help, -1)
		if len(flags) == 0 {
			t.Errorf("%s: the help has no flags", page.name)
		}
		for _, flag := range flags {
			if !strings.Contains(text, "\n.B "+roff(strings.TrimSpace(flag))) {
				t.Errorf("%s has no %s", page.name, flag)
			}
		}
	}
	root, err := tell("help")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range parseHelp(root).commands {
		has := slices.ContainsFunc(pages, func(f file) bool { return f.name == "man/"+program+"-"+c[0]+"."+section })
		if has == (c[0] == "help" || c[0] == "completion") {
			t.Errorf("the command %s has a page: %t", c[0], has)
		}
	}
}

func TestRoffPrintsTextAsItIs(t *testing.T) {
	for text, want := range map[string]string{
		"--dry-run":    `\-\-dry\-run`,
		`-i '*' \`:     `\-i \(aq*\(aq \e`,
		".a\nb\n.c\\n": "\\&.a\nb\n\\&.c\\en",
	} {
		if got := roff(text); got != want {
			t.Errorf("roff(%q) is %q, want %q", text, got, want)
		}
	}
}
