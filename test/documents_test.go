package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/golden"
)

// readmeFolder is where the commands of the documents run.
const readmeFolder = testdata + "/readme"

// A page is a Markdown file that users read.
type page struct {
	path, text string
	blocks     []codeBlock
}

// A codeBlock is a fenced block of a document, with the comment before it.
type codeBlock struct {
	line                   int // of its fence
	mark, argument         string
	language, text, before string
}

// aMark is a comment that says how a block is tested; testdata/README.md lists them.
var aMark = regexp.MustCompile(`^<!-- (output|dry-run|needs|message)(?:: (.*))? -->$`)

func documents(t *testing.T) (all []page) {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*.md", "testdata/*.md"} {
		some, err := filepath.Glob(top + pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, some...)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page{path: path, text: string(text), blocks: blocksOf(t, path, string(text))})
	}
	return all
}

func blocksOf(t *testing.T, path, text string) (blocks []codeBlock) {
	t.Helper()
	before, inside := "", false
	for i, whole := range strings.Split(text, "\n") {
		line := strings.TrimLeft(whole, " ") // a block may be in a list
		fence, fenced := strings.CutPrefix(line, "```")
		switch {
		case fenced && inside:
			inside = false
		case fenced:
			inside = true
			b := codeBlock{line: i + 1, language: fence, before: before}
			if m := aMark.FindStringSubmatch(before); m != nil {
				b.mark, b.argument = m[1], m[2]
			}
			blocks = append(blocks, b)
		case inside:
			blocks[len(blocks)-1].text += whole + "\n"
		case aMark.MatchString(before):
			t.Errorf("%s:%d: %s is not before a block", path, i, before)
		}
		before = line
	}
	if inside {
		t.Errorf("%s: a block does not end", path)
	}
	return blocks
}

// outputBlock is an output in a document: the command in a comment, and a fenced block
// with the command as typed and its output.
var outputBlock = regexp.MustCompile("(?ms)^(<!-- output: ([^\n]*?) -->\n```[a-z]*\n)(.*?)(^```$)")

// TestDocumentsShowRealOutput compares each output in a document with that of its
// command: a line for sh in the folder testdata/readme, with an empty environment. The
// output must not depend on the machine.
func TestDocumentsShowRealOutput(t *testing.T) {
	for _, d := range documents(t) {
		if golden.Update() {
			written := outputBlock.ReplaceAllStringFunc(d.text, func(block string) string {
				parts := outputBlock.FindStringSubmatch(block)
				return parts[1] + shellOutput(t, parts[2]) + parts[4]
			})
			if err := os.WriteFile(d.path, []byte(written), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, b := range d.blocks {
			if b.mark != "output" {
				continue
			}
			if diff := cmp.Diff(shellOutput(t, b.argument), b.text); diff != "" {
				t.Errorf("%s:%d: an output (-want +got; -update writes it anew):\n%s", d.path, b.line, diff)
			}
		}
	}
}

// shellOutput returns a command and its output, without the times of log lines.
func shellOutput(t *testing.T, command string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "sh", "-c", command)
	shell.Dir = readmeFolder
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

// whatIsNeeded are the reasons why the tests do not run commands of a document.
var whatIsNeeded = []string{"cluster", "root", "machine", "sources"}

// marksOf are the comments that a block of a language can have; "" is no comment.
var marksOf = map[string][]string{
	"sh": {"dry-run", "needs"}, "console": {"output"}, "text": {"message"}, "yaml": {""}, "go": {""},
}

// TestDocumentsMarkEveryCodeBlock finds blocks that no test checks.
func TestDocumentsMarkEveryCodeBlock(t *testing.T) {
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			marks, known := marksOf[b.language]
			switch {
			case !known:
				t.Errorf("%s:%d: a block in the language %q", d.path, b.line, b.language)
			case !slices.Contains(marks, b.mark):
				t.Errorf("%s:%d: the comment before it is %q, and has to be one of %q", d.path, b.line, b.before, marks)
			case b.mark == "needs" && !slices.Contains(whatIsNeeded, b.argument):
				t.Errorf("%s:%d: it needs %q, which is none of %q", d.path, b.line, b.argument, whatIsNeeded)
			}
		}
	}
}

// TestDocumentsQuoteRealMessages searches the messages of the documents in the scripts
// and tests, as text or as a regular expression, and in the source.
func TestDocumentsQuoteRealMessages(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"testdata/script/*.txtar", "cmd/*/*.go", "cmd/*/*/*.go", "capture/pod/*.go", "iptables/*.go", "iptables/*/*.go", "test/*.go"} {
		some, err := filepath.Glob(top + pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("nothing in %s: %v", pattern, err)
		}
		paths = append(paths, some...)
	}
	var seen []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole := regexp.MustCompile(`"\s*\+\s*"`).ReplaceAllString(string(text), "") // a Go string in two parts
		for line := range strings.Lines(whole) {
			seen = append(seen, strings.ReplaceAll(line, `\`, ""))
		}
	}
	for _, d := range documents(t) {
		for _, b := range d.blocks {
			for line := range strings.Lines(b.text) {
				pieces := strings.Split(strings.TrimSuffix(line, "\n"), "...")
				if b.mark == "message" && !slices.ContainsFunc(seen, func(s string) bool { return hasPieces(s, pieces) }) {
					t.Errorf("%s:%d: nothing says this: %s", d.path, b.line, line)
				}
			}
		}
	}
}

// hasPieces reports whether a line has all pieces, in order.
func hasPieces(line string, pieces []string) bool {
	for _, p := range pieces {
		_, rest, found := strings.Cut(line, p)
		if !found {
			return false
		}
		line = rest
	}
	return true
}

// aLink is a link to a file of the repository.
var aLink = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

func TestDocumentsHaveNoDeadLinks(t *testing.T) {
	for _, d := range documents(t) {
		for _, m := range aLink.FindAllStringSubmatch(d.text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(d.path), m[1])); err != nil {
				t.Errorf("%s: a link: %v", d.path, err)
			}
		}
	}
}

// aTestName is the name of a test in a document.
var aTestName = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9]*)`")

// TestDocumentsNameTestsThatExist looks for each of them in all tests of the repository.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	var tests strings.Builder
	err := filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents(t) {
		for _, m := range aTestName.FindAllStringSubmatch(d.text, -1) {
			if !strings.Contains(tests.String(), "\nfunc "+m[1]+"(") {
				t.Errorf("%s: there is no test %s", d.path, m[1])
			}
		}
	}
}
