// Package scenario reads the files of testdata/scenarios; testdata/README.md describes
// them.
package scenario

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/rogpeppe/go-internal/txtar"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
)

// A Scenario is one of the files.
type Scenario struct {
	Path    string
	Archive *txtar.Archive
	Args    []string
	Earlier []string // the arguments of a previous run; none: there was none
	Flows   []flow.Flow
}

// All reads the scenarios below testdata, which is the path from the package that
// is tested.
func All(t testing.TB, testdata string) (all []*Scenario) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(testdata, "scenarios", "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range paths {
		all = append(all, load(t, path))
	}
	return all
}

// Load reads the scenario of a name.
func Load(t testing.TB, testdata, name string) *Scenario {
	t.Helper()
	return load(t, filepath.Join(testdata, "scenarios", name+".txtar"))
}

func load(t testing.TB, path string) *Scenario {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &Scenario{Path: path, Archive: archive}
	var errs [3]error
	s.Args, errs[0] = Words(s.Section("args"))
	s.Earlier, errs[1] = Words(s.Section("earlier"))
	s.Flows, errs[2] = flow.Parse(s.Section("flows"))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

// Name is that of the file.
func (s *Scenario) Name() string { return strings.TrimSuffix(filepath.Base(s.Path), ".txtar") }

// Section returns a section; "" if it is missing.
func (s *Scenario) Section(name string) string {
	for _, f := range s.Archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// LookupEnv returns a variable of the section env.
func (s *Scenario) LookupEnv(name string) (string, bool) {
	for line := range strings.Lines(s.Section("env")) {
		if value, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Save returns what iptables-save prints for the golden rules of a family.
func (s *Scenario) Save(f inet.Family) string {
	save, _, _ := strings.Cut(s.Section(f.String()), "\n# ip ")
	if save != "" && !strings.HasSuffix(save, "\n") {
		save += "\n"
	}
	return save
}

// Routes are the commands of ip(8) of the policy routing of a family.
func (s *Scenario) Routes(f inet.Family) (commands []string) {
	for line := range strings.Lines(s.Section(f.String())) {
		if command, ok := strings.CutPrefix(line, "# ip "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// Rules are the golden rules of a family.
func (s *Scenario) Rules(t testing.TB, f inet.Family) iptables.Ruleset {
	t.Helper()
	snapshot, err := iptables.ParseSnapshot(f, s.Save(f))
	if err != nil {
		t.Fatalf("%s: %s: %v", s.Path, f, err)
	}
	rs := snapshot.Ruleset()
	rs.Family = f
	return rs
}

// Config returns the configuration of a pod for the scenario, from its golden rules: the
// ports and the ids of the proxy, the mode, and the captured families. Settings that the
// rules do not show have Istio's defaults.
func (s *Scenario) Config(t testing.TB) flow.Config {
	t.Helper()
	var c flow.Config
	var readings []*infer.Inference
	for _, f := range inet.Families {
		readings = append(readings, infer.Infer(s.Rules(t, f)))
		if s.Section(f.String()) != "" {
			c.Captured = append(c.Captured, f)
		}
	}
	if len(c.Captured) == 0 {
		c.Captured = inet.Families[:]
	}
	c.Config = infer.Configuration(readings...)
	if slices.Contains(s.Args, capture.TProxy.String()) {
		c.Mode = capture.TProxy // without inbound ports no rule shows it
	}
	c.ApplyDefaults()
	return c
}

// Words splits a command line as a shell does, with the quotes that published
// commands have.
func Words(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, c := range line + "\n" {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			inWord, quote = true, c
		case unicode.IsSpace(c):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	return words, nil
}
