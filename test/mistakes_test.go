package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"istio-init/test/golden"
	"istio-init/test/kernel"
)

// TestMistakesAreAnswered runs the commands of testdata/mistakes.txtar, each a line that begins
// with "$ ". The lines below it are what it prints, without times, and its exit code. None of
// them may change a rule or a file.
func TestMistakesAreAnswered(t *testing.T) {
	needKernel(t)
	const path = testdata + "/mistakes.txtar"
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ns, dir := kernel.NewNetNS(t), t.TempDir()
	for _, f := range archive.Files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got strings.Builder
	var answer string
	count := 0
	for line := range strings.Lines(string(archive.Comment)) {
		command, is := strings.CutPrefix(line, "$ ")
		if is {
			count++
			answer = answerTo(t, ns, dir, strings.TrimSpace(command))
		}
		if is || line == "\n" || strings.HasPrefix(line, "# ") {
			got.WriteString(line)
		}
		if is {
			got.WriteString(answer)
		}
	}
	if least := 130; count < least {
		t.Errorf("%d mistakes, want %d or more", count, least)
	}
	archive.Comment = []byte(got.String())
	golden.File(t, path, string(txtar.Format(archive)))
	if rules := ns.Run(t, "", "nft", "list", "ruleset"); rules != "" {
		t.Errorf("rules were made:\n%s", rules)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(archive.Files) {
		t.Errorf("%d files, want %d: %v", len(files), len(archive.Files), err)
	}
}

// answerTo returns what a command prints, without empty lines, and a line with its exit code.
func answerTo(t *testing.T, ns *kernel.NetNS, dir, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	var out []byte
	var err error
	ns.Do(t, func() error {
		out, err = cmd.CombinedOutput()
		return nil
	})
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		t.Fatalf("%s: %v", command, err)
	}
	return strings.ReplaceAll(withoutTimes(string(out)), "\n\n", "\n") + fmt.Sprintf("exit %d\n", code)
}
