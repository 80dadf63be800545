package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/cmd/istio-init/options"
	"istio-init/iptables"
)

// runTrace tells where a connection lands, and which rule says so.
func runTrace(inv *invocation) error {
	q := question(inv.set.Query)
	if q.To == (options.Endpoint{}) {
		return errNoTarget
	}
	f, err := q.family()
	if err != nil {
		return err
	}
	inv.explainRules()
	return inv.inNetNS(func(ctx context.Context) error {
		sc, err := inv.scene(ctx)
		if err != nil {
			return err
		}
		c, err := q.connection(sc, f)
		if err != nil {
			return err
		}
		reading := sc.readings[f]
		site := path.Routes{Route: sc.route, Proxy: proxyOwner(sc.config)}
		legs := path.Follow(reading, sc.config, site, c)
		return inv.say(traced(sc, reading, legs), func(w io.Writer) error { return writeTrace(w, inv.pen, sc, reading, legs) })
	})
}

// say writes an answer in the form that was asked for.
func (inv *invocation) say(forPrograms any, forPeople func(io.Writer) error) error {
	if inv.set.Output == options.Text {
		return forPeople(inv.stdout)
	}
	text, err := asJSON(forPrograms)
	if err == nil {
		_, err = io.WriteString(inv.stdout, text)
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// asJSON is indented JSON.
func asJSON(document any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(document)
	return b.String(), err
}

// writeTrace writes the way of a connection for people.
func writeTrace(w io.Writer, p pen, sc *scene, r *infer.Inference, legs path.Path) error {
	var b strings.Builder
	for i, leg := range legs {
		start := ""
		if i > 0 {
			start = "then "
			b.WriteString("\n")
		}
		b.WriteString(p.lines(bold, start+connectionText(leg), "", "  "))
		outcome := outcomeText(leg)
		if leg.Uncertain {
			outcome += "; not certain, see the end"
		}
		b.WriteString(p.lines(landingColour(leg), outcome, "", "  "))
		for _, stage := range leg.Hooks {
			if len(stage.Steps) > 0 {
				b.WriteString("  at " + stage.Hook + "\n")
			}
			for _, s := range stage.Steps {
				writeStep(&b, p, r, leg, s)
			}
		}
	}
	b.WriteString("\n" + p.lines(dim, "by "+sc.title(), "", "  "))
	writeDoubts(&b, p, doubtsOf(sc, legs))
	_, err := io.WriteString(w, b.String())
	return err
}

// writeStep writes one rule that was met: why it is there, and its text. What
// decides is marked.
func writeStep(b *strings.Builder, p pen, r *infer.Inference, leg path.Hop, s iptables.Step) {
	mark := "        "
	if decides(leg, s) {
		mark = "      > "
	}
	fmt.Fprint(b, wrap(fmt.Sprintf("%s %s, rule %d: %s", s.Table, s.Chain, s.Index+1, reasonOf(r, s)), "    ", "      "))
	colour := dim
	if decides(leg, s) {
		colour = landingColour(leg)
	}
	b.WriteString(p.lines(colour, ruleText(r, s), mark, "          "))
}

// decides tells whether a step is the one that says where a leg lands.
func decides(leg path.Hop, s iptables.Step) bool {
	return leg.Decided != nil && leg.Decided.Rule != "" && !s.Maybe && leg.Decided.At == placeOf(s)
}

func placeOf(s iptables.Step) iptables.Place {
	return iptables.Place{Table: s.Table, Chain: s.Chain, Index: s.Index}
}

// isPolicy tells whether a step is the policy of its chain.
func isPolicy(r *infer.Inference, s iptables.Step) bool {
	return s.Index == len(r.Rules.Table(s.Table).Chain(s.Chain).Rules)
}

func ruleText(r *infer.Inference, s iptables.Step) string {
	if isPolicy(r, s) {
		return "policy " + iptables.Drop.String()
	}
	return s.Rule.Text(r.Rules.Family)
}

// reasonOf is why a rule is there, or what is known of one that is not a mesh's.
func reasonOf(r *infer.Inference, s iptables.Step) string {
	reason := r.Reason(placeOf(s))
	switch {
	case reason != "":
		return reason
	case s.Maybe:
		return "a rule of others, with a condition that is not known here"
	case isPolicy(r, s):
		return "the policy of the chain"
	case iptables.Own(s.Chain):
		return "a rule of a mesh that is not known here"
	}
	return "a rule of others"
}

// connectionText says which connection a leg is.
func connectionText(leg path.Hop) string {
	who := leg.Who
	if leg.Owner != nil {
		who = fmt.Sprintf("%s (uid %d, gid %d)", leg.Who, leg.Owner.UID, leg.Owner.GID)
	}
	text := fmt.Sprintf("%s, %s: -> %s", who, leg.Proto, addrText(leg.Dst))
	if from := addrText(leg.Src); from != "" {
		text = fmt.Sprintf("%s, %s: %s -> %s", who, leg.Proto, from, addrText(leg.Dst))
	}
	switch {
	case leg.Owner == nil:
		text += ", in by " + leg.In
	case leg.Out != "":
		text += ", out by " + leg.Out
	}
	if leg.Mark != 0 {
		text += fmt.Sprintf(", mark %#x", leg.Mark)
	}
	if leg.State != iptables.New && leg.State != 0 {
		text += ", " + strings.ToLower(leg.State.String())
	}
	return text
}

// outcomeText says where a leg lands and why.
func outcomeText(leg path.Hop) string {
	if leg.Loop {
		return "loops: what the proxy sends comes back to it, " + becauseText(leg)
	}
	return landingText(leg) + ", " + becauseText(leg)
}

func landingText(leg path.Hop) string {
	switch leg.Outcome {
	case path.Outbound, path.Inbound:
		if !leg.Captured {
			return fmt.Sprintf("arrives: it was sent to the proxy's own port %d, and not captured", leg.Port)
		}
		return fmt.Sprintf("captured: %s -> proxy port %d", leg.Outcome, leg.Port)
	case path.DNS:
		if !leg.Captured {
			return fmt.Sprintf("arrives: it was sent to the agent's own port %d, and not captured", leg.Port)
		}
		return fmt.Sprintf("captured: look-up -> agent port %d", leg.Port)
	case path.Dropped:
		return "dropped"
	case path.NoRoute:
		return "fails"
	case path.Unknown:
		return "sent elsewhere, to where is not known here"
	case path.Foreign:
		return fmt.Sprintf("redirected -> local port %d", leg.Port)
	case path.Continues:
		return "goes on where the first packet of its connection went"
	}
	return "passes: not captured"
}

// becauseText gives the reason of a leg's landing, or else the rule.
func becauseText(leg path.Hop) string {
	switch d := leg.Decided; {
	case d == nil:
		return "for a reason that is not known here"
	case d.Reason != "":
		return "because " + d.Reason
	case d.Others:
		return fmt.Sprintf("by a rule of others: %s %s %s", d.At.Table, d.At.Chain, d.Rule)
	default:
		return fmt.Sprintf("because of the rule %s %s %s", d.At.Table, d.At.Chain, d.Rule)
	}
}

func landingColour(leg path.Hop) string {
	switch {
	case leg.Loop || leg.Outcome == path.Dropped || leg.Outcome == path.NoRoute:
		return red
	case leg.Outcome == path.Unknown || leg.Outcome == path.Foreign || leg.Uncertain:
		return yellow
	case leg.Captured:
		return green
	}
	return bold
}

// doubtsOf are the reasons why an answer may be wrong.
func doubtsOf(sc *scene, legs path.Path) []string {
	doubts := slices.Concat(sc.doubts, sc.problems)
	for _, leg := range legs {
		if !leg.Uncertain {
			continue
		}
		known := len(doubts)
		for _, stage := range leg.Hooks {
			for _, s := range stage.Steps {
				if s.Matters {
					doubts = append(doubts, fmt.Sprintf("%s %s rule %d of others may take the %s's packet first; not known here: %s",
						s.Table, s.Chain, s.Index+1, leg.Who, strings.Join(s.Rule.Foreign.Conditions, ", ")))
				}
			}
		}
		if len(doubts) == known {
			doubts = append(doubts, "the way leads through too many chains, or back to one of them")
		}
	}
	return doubts
}

// title says what the rules are.
func (sc *scene) title() string {
	if sc.variant != "" {
		return fmt.Sprintf("%s (%s)", sc.name, sc.variant)
	}
	return sc.name
}
