package report

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Path is the way of a connection through rules.
type Path struct {
	Source Source
	Rules  *infer.Inference // those of its family
	Hops   path.Path
	// Unknown is why nothing is known of the connection, where that is so.
	Unknown string
}

func (p Path) text(s Styler) string {
	var b strings.Builder
	b.WriteString(s.lines(dim, "by "+p.Source.title(), "", "  "))
	writeWarnings(&b, s, p.Source.Warnings)
	writeNotes(&b, s, p.Source.Notes)
	for i, hop := range p.hops() {
		start := ""
		if i > 0 {
			start = "then "
			b.WriteString("\n")
		}
		b.WriteString(s.lines(bold, start+connectionText(hop), "", "  "))
		outcome := p.outcomeText(hop)
		if p.Unknown == "" && (hop.Uncertain() || len(p.Source.Caveats) > 0) {
			outcome += "; not certain, see the end"
		}
		b.WriteString(s.lines(outcomeColour(hop), outcome, "", "  "))
		p.writeHooks(&b, s, hop, hop.Hooks, "  at ")
		p.writeHooks(&b, s, hop, hop.Behind, [...]string{"", "  the answer at ", "  the packet behind the answer at "}[hop.Lost])
	}
	if caveats := p.caveats(); len(caveats) > 0 {
		b.WriteString("\n")
		writeCaveats(&b, s, caveats)
	}
	return b.String()
}

// Captured reports whether the connection is captured, and whether that is certain.
func (p Path) Captured() (captured, certain bool) {
	first := p.hops()[0]
	unknown := p.Unknown != "" || first.Outcome == path.Unknown || first.Uncertain() || len(p.Source.Caveats) > 0
	return first.Captured, !unknown
}

// writeHooks writes the matching rules of a packet.
func (p Path) writeHooks(b *strings.Builder, s Styler, hop path.Hop, hooks []path.HookTrace, at string) {
	for _, hook := range hooks {
		if len(hook.Steps) > 0 {
			b.WriteString(at + hook.Hook + "\n")
		}
		for _, step := range hook.Steps {
			writeStep(b, s, p.Rules, hop, step)
		}
	}
}

// hops returns the connections whose path is known, or else the one that was asked about.
func (p Path) hops() path.Path {
	if p.Unknown == "" {
		return p.Hops
	}
	first := p.Hops[0]
	first.Hooks, first.Behind, first.Lost, first.Decided, first.Caveats = nil, nil, 0, nil, nil
	first.Outcome, first.Port, first.Captured = path.Unknown, 0, false
	return path.Path{first}
}

func (p Path) outcomeText(hop path.Hop) string {
	if p.Unknown != "" {
		return "not known: " + p.Unknown
	}
	return OutcomeText(hop, p.Rules.Rules.Family)
}

// writeStep writes a matching rule: its reason and its text. The rule that decides is
// marked.
func writeStep(b *strings.Builder, s Styler, r *infer.Inference, hop path.Hop, step iptables.Step) {
	mark, colour := "        ", dim
	if decides(hop, step) {
		mark, colour = "      > ", outcomeColour(hop)
	}
	b.WriteString(wrap(fmt.Sprintf("%s %s, rule %d: %s", step.Table, step.Chain, step.Index+1, reasonOf(r, step)), "    ", "      "))
	b.WriteString(s.lines(colour, ruleText(r, step), mark, "          "))
}

// decides reports whether a step is the one that decides the outcome.
func decides(hop path.Hop, s iptables.Step) bool {
	return hop.Decided != nil && (hop.Decided.Cause == path.ByRule || hop.Decided.Cause == path.Unseen) && !s.Maybe && hop.Decided.At == placeOf(s)
}

func placeOf(s iptables.Step) iptables.Place {
	return iptables.Place{Table: s.Table, Chain: s.Chain, Index: s.Index}
}

// isPolicy reports whether a step is the policy of its chain.
func isPolicy(r *infer.Inference, s iptables.Step) bool {
	return s.Index == len(r.Rules.Table(s.Table).Chain(s.Chain).Rules)
}

func ruleText(r *infer.Inference, s iptables.Step) string {
	if isPolicy(r, s) {
		return "policy " + iptables.Drop.String()
	}
	return s.Rule.Text(r.Rules.Family)
}

// reasonOf returns the reason of a rule, or what is known of a foreign one.
func reasonOf(r *infer.Inference, s iptables.Step) string {
	reason := Reason(s.Rule)
	switch {
	case reason != "":
		return reason
	case s.Maybe:
		return "a foreign rule, with a condition that cannot be evaluated"
	case isPolicy(r, s):
		return "the policy of the chain"
	case r.Own.Has(s.Table, s.Chain):
		return "an unknown rule of a mesh"
	case r.MeshOfRule(s.Table, s.Chain, s.Rule) != infer.OtherMesh:
		return "a rule of " + r.MeshOfRule(s.Table, s.Chain, s.Rule).String()
	}
	return "a foreign rule"
}

// connectionText describes the connection of a hop.
func connectionText(hop path.Hop) string {
	who := hop.Who
	if hop.Owner != nil {
		who = fmt.Sprintf("%s (uid %d, gid %d)", hop.Who, hop.Owner.UID, hop.Owner.GID)
	}
	text := fmt.Sprintf("%s, %s: -> %s", who, hop.Proto, addrText(hop.Dst))
	if from := addrText(hop.Src); from != "" {
		text = fmt.Sprintf("%s, %s: %s -> %s", who, hop.Proto, from, addrText(hop.Dst))
	}
	switch {
	case hop.Owner == nil:
		text += ", inbound through " + hop.In
	case hop.Out != "":
		text += ", outbound through " + hop.Out
	}
	if hop.Mark != 0 {
		text += fmt.Sprintf(", mark %#x", hop.Mark)
	}
	if hop.State != iptables.New && hop.State != 0 {
		text += ", " + strings.ToLower(hop.State.String())
	}
	return text
}

// OutcomeText says where a hop ends and why.
func OutcomeText(hop path.Hop, f inet.Family) string {
	if hop.Loop {
		return "loops: the connection of the proxy comes back to the proxy, " + becauseText(hop, f)
	}
	return endText(hop) + ", " + becauseText(hop, f)
}

func endText(hop path.Hop) string {
	switch hop.Outcome {
	case path.Outbound, path.Inbound:
		if !hop.Captured {
			return fmt.Sprintf("passes: sent to the proxy's port %d, and not captured", hop.Port)
		}
		return fmt.Sprintf("captured: %s -> proxy port %d", hop.Outcome, hop.Port)
	case path.DNS:
		if !hop.Captured {
			return fmt.Sprintf("passes: sent to the agent's port %d, and not captured", hop.Port)
		}
		return fmt.Sprintf("captured: DNS query -> agent port %d", hop.Port)
	case path.Dropped:
		return "dropped" + [...]string{"", ": the answer does not arrive", ": the packet behind the answer does not arrive"}[hop.Lost]
	case path.NoRoute:
		return "fails"
	case path.Unknown:
		if hop.Decided != nil && hop.Decided.Cause == path.BrokenOff {
			return "not known"
		}
		return "redirected to an unknown destination"
	case path.Foreign:
		if mesh := hop.Decided.Mesh; mesh != infer.OtherMesh {
			return fmt.Sprintf("captured by %s -> local port %d", mesh, hop.Port)
		}
		return fmt.Sprintf("redirected -> local port %d", hop.Port)
	case path.Elsewhere:
		return "redirected -> " + addrText(hop.To)
	case path.Continues:
		return "follows the first packet of its connection"
	case path.Direct:
	}
	return "passes: not captured"
}

// becauseText returns the reason of the outcome, or else the rule that decides.
func becauseText(hop path.Hop, f inet.Family) string {
	switch d := hop.Decided; {
	case d == nil:
		return "for an unknown reason"
	case Because(hop, f) != "":
		return "because " + Because(hop, f)
	case d.Others && d.Mesh != infer.OtherMesh:
		return fmt.Sprintf("by a rule of %s: %s %s %s", d.Mesh, d.At.Table, d.At.Chain, d.Rule.Text(f))
	case d.Others:
		return fmt.Sprintf("by a foreign rule: %s %s %s", d.At.Table, d.At.Chain, d.Rule.Text(f))
	default:
		return fmt.Sprintf("because of the rule %s %s %s", d.At.Table, d.At.Chain, d.Rule.Text(f))
	}
}

func outcomeColour(hop path.Hop) string {
	switch {
	case hop.Loop || hop.Outcome == path.Dropped || hop.Outcome == path.NoRoute:
		return red
	case slices.Contains([]path.Outcome{path.Unknown, path.Foreign, path.Elsewhere}, hop.Outcome) || hop.Uncertain():
		return yellow
	case hop.Captured:
		return green
	}
	return bold
}

// caveats returns the reasons why the answer may be wrong.
func (p Path) caveats() []string {
	caveats := slices.Concat(p.Source.Caveats, p.Source.Problems)
	for _, hop := range p.hops() {
		for _, d := range hop.Caveats {
			if text := caveatText(hop, d); !slices.Contains(caveats, text) {
				caveats = append(caveats, text)
			}
		}
	}
	return caveats
}

// ChainText says that a base chain of nftables may decide about something.
func ChainText(c path.BaseChain, what string) string {
	return fmt.Sprintf("%s may decide about %s; \"nft list chain %s %s %s\" shows it", c, what, c.Family, c.Table, c.Name)
}

// caveatText says what could not be evaluated.
func caveatText(hop path.Hop, d path.Caveat) string {
	packet := [...]string{"", "the answer to ", "the packets behind "}[d.Of] + "the packet of the " + hop.Who
	switch at := fmt.Sprintf("foreign rule %d of %s %s", d.Step.Index+1, d.Step.Table, d.Step.Chain); d.Cause {
	case path.UnknownCondition:
		return fmt.Sprintf("%s may match %s first; cannot be evaluated: %s", at, packet, strings.Join(d.Step.Unknown, ", "))
	case path.UnknownTarget:
		return fmt.Sprintf("%s takes %s; cannot be evaluated: %s", at, packet, d.Step.Rule.Text(0))
	case path.ForeignChain:
		return ChainText(d.Chain, packet)
	case path.UnknownRoute:
		return fmt.Sprintf("%s has mark %#x: the policy rules for it are not known; \"ip rule\" shows them", packet, d.Mark)
	case path.RoutedHere:
		return fmt.Sprintf("a policy rule routes %s to this machine, which does not have the address %s; \"ip rule\" shows it", packet, hop.Dst.Addr())
	case path.OutOfSteps:
	}
	return "the path has too many chains, or a loop of chains"
}
