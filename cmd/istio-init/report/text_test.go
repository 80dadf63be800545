package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	env := func(vars ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for _, v := range vars {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value, true
				}
			}
			return "", false
		}
	}
	tests := []struct {
		name   string
		p      Styler
		colour bool
	}{
		{"terminal", NewStyler(IsTerminal(null), env()), true},
		{"empty-no-color", NewStyler(IsTerminal(null), env("NO_COLOR=")), true},
		{"no-color", NewStyler(IsTerminal(null), env("NO_COLOR=0")), false},
		{"dumb", NewStyler(IsTerminal(null), env("TERM=dumb")), false},
		{"file", NewStyler(IsTerminal(file), env()), false},
		{"no-file", NewStyler(IsTerminal(&strings.Builder{}), env()), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := "text\n"
			if tt.colour {
				want = "\x1b[31mtext\x1b[0m\n"
			}
			if got := tt.p.lines(red, "text", "", ""); got != want {
				t.Errorf("want %q, got %q", want, got)
			}
		})
	}
}

func TestTextIsBrokenAtSpaces(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", Width+1)
	tests := []struct{ name, text, first, indent, want string }{
		{"nothing", "", "", "  ", "\n"},
		{"short", "one two", "- ", "  ", "- one two\n"},
		{"fits", strings.Repeat("x", 49) + " " + strings.Repeat("y", 50), "", "  ", strings.Repeat("x", 49) + " " + strings.Repeat("y", 50) + "\n"},
		{"does-not-fit", strings.Repeat("x", 50) + " " + strings.Repeat("y", 50), "", "  ", strings.Repeat("x", 50) + "\n  " + strings.Repeat("y", 50) + "\n"},
		{"long-word", "a " + long + " b", "", "  ", "a\n  " + long + "\n  b\n"},
		{"line-breaks", "one\ntwo\tthree", "", "", "one two three\n"},
		{"what-is-not-shown", "a\x1b[2J\x07b\u202e", "", "", "a\ufffd[2J\ufffdb\ufffd\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := wrap(tt.text, tt.first, tt.indent); got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
	if got, want := wrapCommand("istio-init "+long, "$ ", "    "), "$ istio-init \\\n    "+long+"\n"; got != want {
		t.Errorf("a command: want %q, got %q", want, got)
	}
}

// TestAnswersFitTheirWidth looks at the answers for people that the scripts have.
func TestAnswersFitTheirWidth(t *testing.T) {
	t.Parallel()
	lines := 0
	for _, pattern := range []string{"trace-*", "check-*"} {
		paths, err := filepath.Glob("../../../testdata/script/" + pattern + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range archive.Files {
				text := string(f.Data)
				if !strings.HasPrefix(f.Name, "want") || strings.HasPrefix(text, "{") || strings.Contains(text, "error\t") || strings.Contains(text, "warn\t") {
					continue
				}
				for line := range strings.Lines(text) {
					lines++
					if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > Width {
						t.Errorf("%s: %s: %d columns: %s", path, f.Name, n, line)
					}
				}
			}
		}
	}
	if lines < 200 {
		t.Errorf("only %d lines were checked", lines)
	}
}

func TestEscapeLeavesWhatPrints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "",
		"größer 日本\t\"a\"\\\n":     "größer 日本\t\"a\"\\\n",
		"\x1b[31mred\x1b[0m\r":     `\u001b[31mred\u001b[0m\u000d`,
		"\u009b2J \u202e \u200b":   `\u009b2J \u202e \u200b`,
		"\U000e0041":               `\udb40\udc41`,
		"\xff\xfe \x7f\x00":        `\xff\xfe \u007f\u0000`,
		"\ufffd stays, \u00a0 not": "\ufffd stays, \\u00a0 not",
	} {
		if got := Escape(text); got != want {
			t.Errorf("%q: want %q, got %q", text, want, got)
		}
	}
}
