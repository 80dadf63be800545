package main

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/pflag"

	"istio-init/capture"
	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/golden"
	"istio-init/test/scenario"
)

const testdata = "../../testdata"

// A parsedScenario is a scenario as the program reads it.
type parsedScenario struct {
	*scenario.Scenario
	settings *options.Run
	warnings []string
	config   flow.Config
}

// podAddrs are the addresses of the pod of the truth table.
var podAddrs = []netutil.Addr{
	{IP: netip.MustParseAddr("10.244.0.2"), Interface: "eth0"},
	{IP: netip.MustParseAddr("2001:db8:244::2"), Interface: "eth0"},
}

func parseScenarios(t *testing.T) (all []*parsedScenario) {
	t.Helper()
	for _, s := range scenario.All(t, testdata) {
		all = append(all, parseScenario(t, s))
	}
	return all
}

// parseScenario turns the arguments and the environment into settings, as the program
// does in the pod of the truth table.
func parseScenario(t *testing.T, s *scenario.Scenario) *parsedScenario {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	defined := options.Apply.Define(flags)
	if err := flags.Parse(s.Args); err != nil {
		t.Fatalf("%s: args: %v", s.Path, err)
	}
	set, problems := defined.Parse(t.Context(), s.LookupEnv, nil)
	if len(problems) > 0 {
		t.Fatalf("%s: %v", s.Path, errors.Join(problems...))
	}
	warning, err := resolveDNS(&set.Run, func() ([]netip.Addr, error) {
		return netutil.ParseDNSServers(strings.NewReader(s.Section("resolv.conf")))
	})
	if err != nil {
		t.Fatalf("%s: %v", s.Path, err)
	}
	families, warnings := decideFamilies(&set.Run, podAddrs, func() bool { return false })
	warnings = append(set.Warnings, warnings...)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	return &parsedScenario{s, &set.Run, warnings, flow.Config{Config: set.Config, Captured: families}}
}

// golden compares a section with what it should be, or with -update writes it. A
// section that is empty need not be there.
func (s *parsedScenario) golden(t *testing.T, name, got string) {
	t.Helper()
	if golden.Update() {
		s.Archive.Files = append(s.without(name), txtar.File{Name: name, Data: []byte(got)})
		if got == "" {
			s.Archive.Files = s.without(name)
		}
		return
	}
	if diff := cmp.Diff(s.Section(name), got); diff != "" {
		t.Errorf("section %s (-want +got; -update writes it anew):\n%s", name, diff)
	}
}

func (s *parsedScenario) without(name string) (files []txtar.File) {
	for _, f := range s.Archive.Files {
		if f.Name != name {
			files = append(files, f)
		}
	}
	return files
}

func TestScenarioRulesAreTheGoldens(t *testing.T) {
	for _, s := range parseScenarios(t) {
		t.Run(s.Name(), func(t *testing.T) {
			if strings.TrimSpace(string(s.Archive.Comment)) == "" {
				t.Error("the first line has to say why the scenario is there")
			}
			if err := s.settings.Config.Validate(); err != nil {
				t.Fatal(err)
			}
			s.golden(t, "warnings", strings.Join(append(s.warnings, ""), "\n"))
			for _, f := range inet.Families {
				rs := s.config.Rules(f)
				if err := rs.Validate(); err != nil {
					t.Error(err)
				}
				s.golden(t, f.String(), previewText(rs, pod.Wanted(s.settings.Config, s.config.Captured).Routes[f]))
				checkParses(t, rs)
			}
			if golden.Update() {
				if err := os.WriteFile(s.Path, txtar.Format(s.Archive), 0o644); err != nil {
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
	for _, s := range parseScenarios(t) {
		t.Run(s.Name(), func(t *testing.T) {
			if len(s.Flows) == 0 {
				t.Error("there are no flows")
			}
			for _, fl := range s.Flows {
				for _, family := range fl.In(s.config.Captured) {
					got := flow.Predict(s.config, fl, family)
					if got.Outcome != fl.Outcome {
						t.Errorf("%s (%s): by the rules it is %s", fl.Line, family, got)
					}
					if d := got.Leg.Decided; d == nil || report.Because(got.Leg, family) == "" || d.Others || got.Leg.Uncertain() {
						t.Errorf("%s (%s): the reason for it is %+v", fl.Line, family, d)
					}
				}
			}
		})
	}
}

// TestScenarioGoldensTellWhatAPodHasToKnow: tests on the kernel take the ports, the
// ids and the mode of the proxy, the DNS servers and the families from the golden
// rules. They are those of the arguments, wherever a rule shows them.
func TestScenarioGoldensTellWhatAPodHasToKnow(t *testing.T) {
	for _, s := range parseScenarios(t) {
		t.Run(s.Name(), func(t *testing.T) {
			if golden.Update() {
				t.Skip("the goldens are being written")
			}
			want, got := s.config, s.Config(t)
			if diff := cmp.Diff(want.Captured, got.Captured); diff != "" {
				t.Errorf("captured families (-of the arguments +of the goldens):\n%s", diff)
			}
			if want.Mode == capture.None {
				return
			}
			want.ApplyDefaults()
			type known struct {
				Proxy                  flow.Identity
				ProxyPort, InboundPort uint16
				Mark                   uint32
				DNS                    bool
			}
			of := func(c flow.Config) known {
				dns := c.DNS.All || slices.ContainsFunc(c.DNS.Servers, func(server netip.Addr) bool {
					return slices.ContainsFunc(c.Captured, func(f inet.Family) bool { return f.Has(server) })
				})
				return known{c.Proxy(), c.ProxyPort, c.InboundPort, c.TProxyMark, dns}
			}
			if diff := cmp.Diff(of(want), of(got)); diff != "" {
				t.Errorf("(-of the arguments +of the goldens):\n%s", diff)
			}
		})
	}
}
