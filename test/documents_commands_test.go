package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"istio-init/test/scenario"
)

// A typed is a command line of the program in a document.
type typed struct {
	where string
	env   []string
	args  []string // starts with the name of the program
}

// TestDocumentsUseValidOptions checks the options of every command line, in blocks and
// in the text, with --print-config; a warning is an error too.
func TestDocumentsUseValidOptions(t *testing.T) {
	calls := 0
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if b.language != "sh" {
				continue
			}
			for _, line := range commandLines(b.text) {
				for _, call := range callsIn(t, d.path, line) {
					calls++
					call.check(t)
					if b.mark == "dry-run" {
						call.dryRun(t)
					}
				}
			}
		}
		for _, span := range regexp.MustCompile("`("+programName+" [^`]+)`").FindAllStringSubmatch(d.text, -1) {
			if strings.Contains(span[1], "FLAGS") || strings.Contains(span[1], "...") {
				continue
			}
			for _, call := range callsIn(t, d.path, span[1]) {
				calls++
				call.check(t)
			}
		}
	}
	if calls < 20 {
		t.Errorf("only %d calls were found", calls)
	}
}

// commandLines returns the commands of a shell block, with continued lines joined and
// without comments.
func commandLines(block string) (lines []string) {
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " # ")
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestCommentsOfDocumentsHaveACommand: a comment in a block of commands tells what the line below
// it does.
func TestCommentsOfDocumentsHaveACommand(t *testing.T) {
	alone := regexp.MustCompile(`(?m)^#.*\n(\s*\n|\z)`)
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			if at := alone.FindString(b.text); b.language == "sh" && at != "" {
				t.Errorf("%s: no command follows %q", d.path, at)
			}
		}
	}
}

// endWords are the words of a shell that end a command.
var endWords = []string{"|", "&&", "||", ";", ">", ">>", "<", "2>/dev/null", "2>&1"}

// starters are commands whose arguments are another command.
var starters = []string{"kubectl", "nsenter", "sudo"}

// callsIn returns the command lines of the program in a shell line: as a command, or
// after one that starts it.
func callsIn(t *testing.T, where, line string) (calls []typed) {
	t.Helper()
	words, err := scenario.Words(line)
	if err != nil {
		t.Fatalf("%s: %s: %v", where, line, err)
	}
	var env []string
	expected := true // the next word is a command
	for i := 0; i < len(words); i++ {
		name := filepath.Base(words[i])
		switch {
		case slices.Contains(endWords, words[i]):
			env, expected = nil, true
		case !expected || strings.HasPrefix(words[i], "./"): // a package of Go
		case regexp.MustCompile(`^[A-Z_]+=`).MatchString(words[i]):
			env = append(env, words[i])
		case name == programName || slices.Contains(istiosNames, name):
			n := slices.IndexFunc(words[i:], func(w string) bool { return slices.Contains(endWords, w) })
			if n < 0 {
				n = len(words) - i
			}
			calls = append(calls, typed{where: where + ": " + line, env: env, args: append([]string{name}, words[i+1:i+n]...)})
			i += n - 1
		case i == 0 || slices.Contains(endWords, words[i-1]):
			expected = slices.Contains(starters, name)
		}
	}
	return calls
}

// run runs the command line with additional arguments. The user istio-proxy need not
// exist on this machine.
func (c typed) run(t *testing.T, more ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.args[0], append(withoutUser(c.args[1:]), more...)...)
	cmd.Dir = readmeFolder
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, c.env...)
	out, _ := cmd.CombinedOutput()
	return withoutTimes(string(out)), cmd.ProcessState.ExitCode()
}

func withoutUser(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "istio-proxy" {
			args[i] = "1337"
		}
	}
	return args
}

// check prints the options of a command line, or its help if it has no options.
func (c typed) check(t *testing.T) {
	t.Helper()
	more := "--print-config"
	if len(c.args) > 1 && slices.Contains([]string{"version", "config-schema", "completion", "help"}, c.args[1]) {
		more = "--help"
	}
	out, code := c.run(t, more)
	if code != 0 || regexp.MustCompile(`(?m)^(warn|error)\t|^Error`).MatchString(out) {
		t.Errorf("%s: %s %s: exit code %d\n%s", c.where, strings.Join(c.args, " "), more, code, out)
	}
}

// dryRun runs a command line that applies rules.
func (c typed) dryRun(t *testing.T) {
	t.Helper()
	out, code := c.run(t, "--dry-run")
	if code != 0 || !strings.Contains(out, "ISTIO_") {
		t.Errorf("%s: with --dry-run: exit code %d\n%s", c.where, code, out)
	}
}

// TestDocumentsUseValidMakeTargets checks that each named target exists.
func TestDocumentsUseValidMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(top + "Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents(t) {
		for _, m := range regexp.MustCompile("(?m)(?:^|`)(?:sudo )?make ([a-z0-9-]+)").FindAllStringSubmatch(d.text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: make %s is not a target", d.path, m[1])
			}
		}
	}
}
