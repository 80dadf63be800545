package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A State is what is captured. Its fields are the keys of check --output json without
// flags for rules.
type State struct {
	header
	Result        result         `json:"result" jsonschema:"what is with the connections of the pod"`
	CapturedBy    []mesh         `json:"captured_by,omitempty" jsonschema:"whose rules redirect connections"`
	Captured      directions     `json:"captured" jsonschema:"which connections the rules of istio capture"`
	Backend       pod.Name       `json:"backend,omitempty" jsonschema:"who has the live rules"`
	Source        origin         `json:"source" jsonschema:"where the rules are from"`
	Captures      bool           `json:"captures" jsonschema:"there are rules of istio"`
	Ambient       bool           `json:"ambient,omitempty" jsonschema:"there are rules of Istio's ambient mode"`
	Families      []inet.Family  `json:"families" jsonschema:"the address families with rules of istio"`
	Configuration *configuration `json:"configuration,omitempty" jsonschema:"what the rules of istio are made of"`
	// Exact says that the rules are line for line those that Arguments make.
	Exact     bool       `json:"exact" jsonschema:"the rules are line for line those that arguments make"`
	Arguments []string   `json:"arguments,omitempty" jsonschema:"of an apply that makes these rules"`
	Variables []string   `json:"variables,omitempty" jsonschema:"of its environment, as NAME=VALUE"`
	Redirects []redirect `json:"redirects,omitempty" jsonschema:"what foreign rules redirect"`
	Problems  []string   `json:"problems,omitempty" jsonschema:"why the rules do not work, for people"`
	Warnings  []string   `json:"warnings,omitempty" jsonschema:"foreign rules that decide too, for people"`
	Caveats   []string   `json:"doubts,omitempty" jsonschema:"why the answer may be wrong, for people"`
	Notes     []string   `json:"notes,omitempty" jsonschema:"what was changed to read the rules, for people"`

	Rules      string   `json:"rules" jsonschema:"deprecated: use source"`
	Variant    string   `json:"variant,omitempty" jsonschema:"deprecated: use backend"`
	Meshes     []string `json:"meshes,omitempty" jsonschema:"deprecated: use captured_by"`
	Generation string   `json:"generation,omitempty" jsonschema:"deprecated: use configuration"`
	Facts      []fact   `json:"facts" jsonschema:"deprecated: use configuration and redirects"`

	config  capture.Config
	samples []path.Sample
	title   string // of the rules
	where   string // the families with rules of ambient mode

	unprinted     []string // tables that may capture
	assumesTunnel bool

	redirects  []string // what foreign rules redirect, by its label
	redirected []string // in which families
}

type (
	// A result is what is with the connections of a pod.
	result string
	// directions are kinds of connections.
	directions struct {
		Inbound  bool `json:"inbound" jsonschema:"inbound connections"`
		Outbound bool `json:"outbound" jsonschema:"outbound connections"`
		DNS      bool `json:"dns" jsonschema:"DNS queries"`
	}
	// A redirect is a foreign rule that redirects connections.
	redirect struct {
		Mesh  mesh   `json:"mesh" jsonschema:"whose rule it is"`
		Of    way    `json:"of" jsonschema:"which connections"`
		Proto string `json:"protocol,omitempty" jsonschema:"tcp or udp; missing: both"`
		Port  uint16 `json:"port,omitempty" jsonschema:"the local port to which they are redirected; missing: not known"`
		Table string `json:"table" jsonschema:"the table of the rule"`
		Chain string `json:"chain" jsonschema:"the chain of the rule"`
	}
	// A way is a kind of connections.
	way string
)

type fact struct {
	Label string `json:"label" jsonschema:"what the text is about, for people"`
	Text  string `json:"text" jsonschema:"for people"`
	title string // the label for people
}

// jsonLabels are the labels of JSON that differ from those for people: programs know them.
var jsonLabels = map[string]string{"excluded": "left alone", "DNS queries": "look-ups", "loopback": "pod itself"}

func newFact(label, text string) fact { return fact{cmp.Or(jsonLabels[label], label), text, label} }

// NewState returns what rules capture. The arguments, of an apply, and the variables of
// its environment are those that make the rules.
func NewState(src Source, args, variables []string) (s State) {
	s = State{
		header: newHeader(kindState), Backend: pod.Name(src.Variant), Source: src.origin(),
		Rules: src.Name, Variant: src.Variant, Caveats: src.Caveats, Problems: src.Problems, Notes: src.Notes, Facts: []fact{}, Families: []inet.Family{},
		Warnings: src.Warnings, config: src.Config, samples: src.Samples, title: src.title(), unprinted: src.Unprinted,
	}
	s.addAmbient(src)
	s.addMeshes(src)
	defer func() { s.Captured, s.Result = s.capture() }()
	own := slices.DeleteFunc(slices.Clone(src.Rules), func(r *infer.Inference) bool { return !r.Captures() })
	if len(own) == 0 {
		return s
	}
	s.CapturedBy = append([]mesh{ours}, s.CapturedBy...)
	for _, r := range own {
		s.Families = append(s.Families, r.Rules.Family)
		for _, jump := range r.LostJumps(src.Config) {
			s.Problems = append(s.Problems, fmt.Sprintf("%s: no rule of %s %s leads to %s, so its rules match nothing",
				r.Rules.Family, jump.Table, jump.From, jump.To))
		}
	}
	for _, r := range src.Rules {
		if r.Guarded() {
			s.Problems = append(s.Problems, fmt.Sprintf("%s: guardrails that Istio left behind drop all TCP and UDP (table filter)", r.Rules.Family))
		}
	}
	s.Problems = append(s.Problems, LostSamples(src.Samples, path.Sample.Missed)...)
	s.Caveats = slices.Concat(s.Caveats, UncertainSamples(src.Samples))
	s.Captures, s.Generation = true, src.Config.Generation.String()
	s.Exact = src.Config.Validate() == nil && !slices.ContainsFunc(own, func(r *infer.Inference) bool { return !r.MadeBy(src.Config) })
	s.Arguments, s.Variables, s.assumesTunnel = args, variables, src.assumesTunnel()
	known := withoutTunnel(src)
	s.Configuration = newConfiguration(known)
	for _, f := range Facts(known) {
		s.Facts = append(s.Facts, newFact(f.Label, f.Text))
	}
	return s
}

// addAmbient adds where the rules of Istio's ambient mode are, and as a problem that ours
// are there too.
func (s *State) addAmbient(src Source) {
	var families []string
	for _, r := range src.Rules {
		if !r.Ambient {
			continue
		}
		families = append(families, r.Rules.Family.String())
		if r.Captures() {
			s.Problems = append(s.Problems, fmt.Sprintf("%s: the pod is in Istio's ambient mode: the rules of a sidecar break its traffic", r.Rules.Family))
		}
	}
	if len(families) > 0 {
		s.CapturedBy = append(s.CapturedBy, meshOf(infer.IstioAmbient))
	}
	s.Ambient, s.where = len(families) > 0, strings.Join(families, " and ")
}

// assumesTunnel reports whether the tunnel port of the configuration is an excluded port.
func (s *Source) assumesTunnel() bool {
	return s.Config.TunnelPort != capture.DefaultTunnelPort && !slices.ContainsFunc(s.Rules, (*infer.Inference).KnowsTunnel)
}

// withoutTunnel returns the configuration of rules: without a tunnel port where none is known. That
// of the arguments is then the first port of -d, which has the same rule.
func withoutTunnel(src Source) capture.Config {
	c := src.Config
	if slices.ContainsFunc(src.Rules, (*infer.Inference).KnowsTunnel) {
		return c
	}
	if src.assumesTunnel() {
		c.InboundPorts.Except = append([]iptables.PortRange{iptables.Port(c.TunnelPort)}, c.InboundPorts.Except...)
	}
	c.TunnelPort = 0
	return c
}

func (s State) document() any { return s }

func (s State) text(styler Styler) string {
	const indent = 12
	var b strings.Builder
	row := func(label, text string) {
		b.WriteString(wrap(text, fmt.Sprintf("%-*s", indent, label), strings.Repeat(" ", indent)))
	}
	b.WriteString(styler.lines(bold, s.headline(), "", "  "))
	for _, problem := range s.Problems {
		b.WriteString(styler.lines(red, "problem: "+problem, "", "  "))
	}
	for _, f := range s.Facts {
		row(f.title, f.Text)
	}
	if s.Captures {
		label := "made by"
		if !s.Exact {
			label = "nearest"
		}
		line := ShellLine(slices.Concat(s.Variables, []string{"istio-init", "apply"}, s.Arguments))
		b.WriteString(wrapCommand(line, fmt.Sprintf("%-*s", indent, label), strings.Repeat(" ", indent+2)))
		if !s.Exact {
			row("", "the rules are not exactly those; \"check\" with these flags shows how they differ")
		}
		if s.assumesTunnel {
			row("", "-e has the first of the excluded ports, by the same rule: the rules have no tunnel port")
		}
		row("generation", s.Generation)
	}
	row("source", s.title)
	writeWarnings(&b, styler, s.Warnings)
	writeNotes(&b, styler, s.Notes)
	writeCaveats(&b, styler, s.Caveats)
	return b.String()
}

// Unknown reports whether nothing is known to be captured, and a table that may capture could
// not be read.
func (s State) Unknown() bool {
	return !s.Captures && !s.Ambient && len(s.redirects) == 0 && len(s.unprinted) > 0
}

// lost reports whether none of these connections are captured.
func (s State) lost(want path.Outcome) bool {
	return allLost(s.samples, path.Sample.Missed, want, inet.Families[:]...)
}
