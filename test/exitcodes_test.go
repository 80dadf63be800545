package test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestEveryExitCodeIsShown wants a run with each exit code of docs/exit-codes.md but 0, in the
// mistakes or in a script.
func TestEveryExitCodeIsShown(t *testing.T) {
	type end struct{ command, code string }
	shown := map[end]bool{}
	note := func(code, command string) {
		if command == "" {
			command = applyCommand
		}
		shown[end{command, code}] = true
	}
	scripts, err := filepath.Glob(testdata + "/script/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range scripts {
		for _, m := range regexp.MustCompile(`(?m)^exits (\d+) (?:.* )?`+programName+`(?: ([a-z][a-z-]*))?(?: |$)`).FindAllStringSubmatch(read(t, path), -1) {
			note(m[1], m[2])
		}
	}
	ran := regexp.MustCompile(`(?m)^\$ (?:.* )?` + programName + `(?: ([a-z][a-z-]*))?(?: .*)?\n(?:[^$\n].*\n|\n)*?exit (\d+)$`)
	for _, m := range ran.FindAllStringSubmatch(read(t, testdata+"/mistakes.txtar"), -1) {
		note(m[2], m[1])
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (\\d+) \\|").FindAllStringSubmatch(read(t, top+"docs/exit-codes.md"), -1)
	if len(rows) == 0 {
		t.Fatal("docs/exit-codes.md has no codes")
	}
	for _, m := range rows {
		if want := (end{m[1], m[2]}); m[2] != "0" && !shown[want] {
			t.Errorf("nothing shows that %s exits with %s", want.command, want.code)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
