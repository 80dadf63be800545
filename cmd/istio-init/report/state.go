package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A State is what is captured. Its fields are the keys of check --output json without
// flags for rules.
type State struct {
	Rules      string   `json:"rules"`             // what the rules are
	Variant    string   `json:"variant,omitempty"` // of iptables, where they are live
	Captures   bool     `json:"captures"`          // there are rules of ours
	Ambient    bool     `json:"ambient,omitempty"` // there are rules of Istio's ambient mode
	Meshes     []string `json:"meshes,omitempty"`  // other ones whose rules are there
	Families   []string `json:"families"`
	Generation string   `json:"generation,omitempty"` // the Istio release whose rules they are
	// Exact says that the rules are line for line those that Arguments make.
	Exact     bool     `json:"exact"`
	Arguments []string `json:"arguments,omitempty"` // of an apply
	Variables []string `json:"variables,omitempty"` // of its environment
	Facts     []fact   `json:"facts"`
	Problems  []string `json:"problems,omitempty"` // why the rules do not work
	Warnings  []string `json:"warnings,omitempty"` // foreign rules that decide too
	Caveats   []string `json:"doubts,omitempty"`
	Notes     []string `json:"notes,omitempty"` // what was changed to read the rules

	config  capture.Config
	samples []path.Sample
	title   string // of the rules
	where   string // the families with rules of ambient mode

	unprinted     []string // tables that may capture
	assumesTunnel bool

	redirects  []string // what foreign rules redirect, by its label
	redirected []string // in which families
}

type fact struct {
	Label string `json:"label"`
	Text  string `json:"text"`
	title string // the label for people
}

// jsonLabels are the labels of JSON that differ from those for people: programs know them.
var jsonLabels = map[string]string{"excluded": "left alone", "DNS queries": "look-ups", "loopback": "pod itself"}

func newFact(label, text string) fact { return fact{cmp.Or(jsonLabels[label], label), text, label} }

// NewState returns what rules capture. The arguments, of an apply, and the variables of
// its environment are those that make the rules.
func NewState(src Source, args, variables []string) State {
	s := State{
		Rules: src.Name, Variant: src.Variant, Caveats: src.Caveats, Problems: src.Problems, Notes: src.Notes, Facts: []fact{}, Families: []string{},
		Warnings: src.Warnings, config: src.Config, samples: src.Samples, title: src.title(), unprinted: src.Unprinted,
	}
	s.addAmbient(src)
	s.addMeshes(src)
	own := slices.DeleteFunc(slices.Clone(src.Rules), func(r *infer.Inference) bool { return !r.Captures() })
	if len(own) == 0 {
		return s
	}
	for _, r := range own {
		s.Families = append(s.Families, r.Rules.Family.String())
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
	s.Problems = append(s.Problems, LostSamples(src.Samples)...)
	s.Caveats = slices.Concat(s.Caveats, UncertainSamples(src.Samples))
	s.Captures, s.Generation = true, src.Config.Generation.String()
	s.Exact = src.Config.Validate() == nil && !slices.ContainsFunc(own, func(r *infer.Inference) bool { return !r.MadeBy(src.Config) })
	s.Arguments, s.Variables, s.assumesTunnel = args, variables, src.assumesTunnel()
	for _, f := range Facts(withoutTunnel(src)) {
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

// headline returns the answer in one sentence.
func (s State) headline() string {
	c := s.config
	in, out := !c.InboundPorts.Empty(), !c.OutboundPrefixes.Empty() || len(c.OutboundPorts) > 0
	what := ""
	wanted := in || out || c.DNS.Captures()
	in, out = in && !s.lost(path.Inbound), out && !s.lost(path.Outbound)
	switch {
	case s.Ambient && !s.Captures:
		return "the pod is in Istio's ambient mode, " + s.where + ": its rules are not ours"
	case !s.Captures && len(s.redirects) > 0:
		return s.meshHeadline()
	case s.Unknown():
		return "it is not known what is captured: " + strings.Join(s.unprinted, "; ")
	case !s.Captures:
		return "nothing is captured: there are no rules of a mesh"
	case in && out:
		what = "captured: inbound and outbound"
	case in:
		what = "captured: inbound only"
	case out:
		what = "captured: outbound only"
	case c.DNS.Captures() && !s.lost(path.DNS):
		what = "captured: DNS queries only"
	case wanted:
		return "not captured, though there are rules of a mesh: see the problems"
	default:
		return "nothing is captured, though there are chains of a mesh"
	}
	what += ", " + strings.Join(s.Families, " and ")
	if len(s.Problems) > 0 {
		what += "; but there are problems"
	}
	return what
}

// Unknown reports whether nothing is known to be captured, and a table that may capture could
// not be read.
func (s State) Unknown() bool {
	return !s.Captures && !s.Ambient && len(s.redirects) == 0 && len(s.unprinted) > 0
}

// lost reports whether none of these connections are captured.
func (s State) lost(want path.Outcome) bool { return allLost(s.samples, want, inet.Families[:]...) }

// ShellLine joins words to a command line for a shell.
func ShellLine(words []string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:,=+@"
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.Trim(w, plain) != "" {
			quoted[i] = "'" + w + "'" // no value has a quote in it
		}
	}
	return strings.Join(quoted, " ")
}
