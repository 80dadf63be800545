package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/pflag"

	"istio-init/capture/capturetest"
	"istio-init/iptables"
	"istio-init/netutil"
)

// A scenario is a file of testdata/scenarios; testdata/README.md says what is in
// one.
type scenario struct {
	path     string
	archive  *txtar.Archive
	args     []string
	settings *settings
	config   capturetest.Config
	flows    []capturetest.Flow
}

// podAddrs are the addresses of the pod of the truth table.
var podAddrs = []netutil.Addr{
	{IP: netip.MustParseAddr("10.244.0.2"), Interface: "eth0"},
	{IP: netip.MustParseAddr("2001:db8:244::2"), Interface: "eth0"},
}

func loadScenarios(t *testing.T) []*scenario {
	t.Helper()
	paths, err := filepath.Glob("../../testdata/scenarios/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	var all []*scenario
	for _, path := range paths {
		all = append(all, loadScenario(t, path))
	}
	return all
}

func loadScenario(t *testing.T, path string) *scenario {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &scenario{path: path, archive: archive}
	if s.args, err = shellWords(s.section("args")); err != nil {
		t.Fatalf("%s: args: %v", path, err)
	}
	families, err := s.parse()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	s.config = capturetest.Config{Config: s.settings.config, Captured: families}
	if s.flows, err = capturetest.ParseFlows(s.section("flows")); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return s
}

// parse turns the arguments and the environment into settings, as the program does
// in the pod of the truth table, and returns the families that it captures.
func (s *scenario) parse() ([]iptables.Family, error) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	values := defineFlags(flags, options, allOptions)
	if err := flags.Parse(s.args); err != nil {
		return nil, fmt.Errorf("args: %w", err)
	}
	var problems []error
	s.settings, problems = parseSettings(values, s.env, systemAccounts{}, allOptions)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	warning, err := s.settings.resolveDNS(func() ([]netip.Addr, error) {
		return netutil.ParseDNSServers(strings.NewReader(s.section("resolv.conf")))
	})
	if err != nil {
		return nil, err
	}
	families, warnings := s.settings.decideFamilies(podAddrs, func() bool { return false })
	s.settings.warnings = append(s.settings.warnings, warnings...)
	if warning != "" {
		s.settings.warn("%s", warning)
	}
	return families, nil
}

func (s *scenario) name() string { return strings.TrimSuffix(filepath.Base(s.path), ".txtar") }

// section returns a file of the scenario; "" when it is not there.
func (s *scenario) section(name string) string {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// env looks a variable up in the section of that name.
func (s *scenario) env(name string) (string, bool) {
	for line := range strings.Lines(s.section("env")) {
		if value, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// golden compares a section with what it should be, or with -update writes it. A
// section that is empty need not be there.
func (s *scenario) golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		s.archive.Files = append(s.without(name), txtar.File{Name: name, Data: []byte(got)})
		if got == "" {
			s.archive.Files = s.without(name)
		}
		return
	}
	if diff := cmp.Diff(s.section(name), got); diff != "" {
		t.Errorf("section %s (-want +got; -update writes it anew):\n%s", name, diff)
	}
}

func (s *scenario) without(name string) (files []txtar.File) {
	for _, f := range s.archive.Files {
		if f.Name != name {
			files = append(files, f)
		}
	}
	return files
}

func TestScenarioRulesAreTheGoldens(t *testing.T) {
	for _, s := range loadScenarios(t) {
		t.Run(s.name(), func(t *testing.T) {
			if strings.TrimSpace(string(s.archive.Comment)) == "" {
				t.Error("the first line has to say why the scenario is there")
			}
			if err := s.settings.config.Validate(); err != nil {
				t.Fatal(err)
			}
			s.golden(t, "warnings", strings.Join(append(s.settings.warnings, ""), "\n"))
			for _, f := range iptables.Families {
				rs := s.config.Rules(f)
				if err := rs.Validate(); err != nil {
					t.Error(err)
				}
				s.golden(t, f.String(), previewText(rs, s.settings.route(rs)))
				checkParses(t, rs)
			}
			if *update {
				if err := os.WriteFile(s.path, txtar.Format(s.archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// checkParses reads every rule back from its text.
func checkParses(t *testing.T, rs iptables.Ruleset) {
	t.Helper()
	for _, table := range rs.Tables {
		for _, chain := range table.Chains {
			for _, rule := range chain.Rules {
				back, err := iptables.ParseRule(rs.Family, rule.Text(rs.Family))
				if err != nil {
					t.Error(err)
				} else if diff := cmp.Diff(rule.Text(rs.Family), back.Text(rs.Family)); diff != "" {
					t.Errorf("text changes when read and printed (-want +got):\n%s", diff)
				}
			}
		}
	}
}

func TestScenarioFlowsAreThoseOfTheRules(t *testing.T) {
	for _, s := range loadScenarios(t) {
		t.Run(s.name(), func(t *testing.T) {
			if len(s.flows) == 0 {
				t.Error("there are no flows")
			}
			for _, flow := range s.flows {
				for _, family := range flow.In(s.config.Captured) {
					got := capturetest.Predict(s.config, flow, family)
					if got.Outcome != flow.Outcome {
						t.Errorf("%s (%s): by the rules it is %s", flow.Line, family, got)
					}
					if d := got.Leg.Decided; d == nil || d.Reason == "" || d.Others || got.Leg.Uncertain {
						t.Errorf("%s (%s): the reason for it is %+v", flow.Line, family, d)
					}
				}
			}
		})
	}
}

// shellWords splits a command line as a shell does, with the quotes that published
// commands have.
func shellWords(line string) ([]string, error) {
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
