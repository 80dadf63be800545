package report

import (
	"net/netip"

	"istio-init/capture/path"
)

// The document of trace --output json.
type (
	pathJSON struct {
		Rules    string    `json:"rules"`             // what the rules are
		Variant  string    `json:"variant,omitempty"` // of iptables, where they are live
		Family   string    `json:"family"`
		Warnings []string  `json:"warnings,omitempty"`
		Certain  bool      `json:"certain"`
		Notes    []string  `json:"notes,omitempty"`
		Caveats  []string  `json:"doubts,omitempty"`
		Legs     []hopJSON `json:"legs"` // the connection, and those that the proxy opens for it
	}
	hopJSON struct {
		Who      string     `json:"who"` // app, proxy or peer
		UID      *uint32    `json:"uid,omitempty"`
		GID      *uint32    `json:"gid,omitempty"`
		Protocol string     `json:"protocol"`
		From     string     `json:"from"`
		To       string     `json:"to"`
		In       string     `json:"in,omitempty"`
		Out      string     `json:"out,omitempty"`
		Mark     uint32     `json:"mark,omitempty"`
		State    string     `json:"state"`
		Landing  string     `json:"landing"`
		Port     uint16     `json:"port,omitempty"`          // of the proxy or the agent
		Sent     string     `json:"redirected_to,omitempty"` // for the landing elsewhere
		Captured bool       `json:"captured"`
		Loop     bool       `json:"loop,omitempty"`
		Outcome  string     `json:"outcome"`
		Reason   string     `json:"reason,omitempty"`
		Stages   []hookJSON `json:"stages"`
		Behind   []hookJSON `json:"behind,omitempty"` // of the answer or a later packet, where that is dropped
	}
	hookJSON struct {
		Hook    string     `json:"hook"`
		Verdict string     `json:"verdict"`
		Steps   []stepJSON `json:"steps"`
	}
	stepJSON struct {
		Table   string   `json:"table"`
		Chain   string   `json:"chain"`
		Number  int      `json:"number"` // of the rule in its chain, from 1
		Rule    string   `json:"rule"`
		Reason  string   `json:"reason"`
		Decides bool     `json:"decides,omitempty"`
		Unknown []string `json:"unknown,omitempty"` // conditions that cannot be evaluated: it may match
	}
)

func (p Path) document() any {
	out := pathJSON{Rules: p.Source.Name, Variant: p.Source.Variant, Family: p.Rules.Rules.Family.String(), Warnings: p.Source.Warnings, Caveats: p.caveats(), Notes: p.Source.Notes}
	out.Certain = len(out.Caveats) == 0
	for _, hop := range p.hops() {
		h := hopJSON{
			Who: hop.Who, Protocol: hop.Proto.String(), From: addrText(hop.Src), To: addrText(hop.Dst), In: hop.In, Out: hop.Out, Mark: hop.Mark,
			State: hop.State.String(), Landing: hop.Outcome.String(), Port: hop.Port, Sent: addrText(hop.To), Captured: hop.Captured, Loop: hop.Loop,
			Outcome: p.outcomeText(hop), Stages: []hookJSON{},
		}
		if hop.Owner != nil {
			h.UID, h.GID = &hop.Owner.UID, &hop.Owner.GID
		}
		if hop.Decided != nil {
			h.Reason = Because(hop, p.Rules.Rules.Family)
		}
		for _, hook := range hop.Hooks {
			h.Stages = append(h.Stages, p.hookDocument(hop, hook))
		}
		for _, hook := range hop.Behind {
			h.Behind = append(h.Behind, p.hookDocument(hop, hook))
		}
		out.Legs = append(out.Legs, h)
	}
	return out
}

func (p Path) hookDocument(hop path.Hop, hook path.HookTrace) hookJSON {
	out := hookJSON{Hook: hook.Hook, Verdict: hook.Verdict.String(), Steps: []stepJSON{}}
	for _, s := range hook.Steps {
		step := stepJSON{
			Table: s.Table, Chain: s.Chain, Number: s.Index + 1, Rule: ruleText(p.Rules, s), Reason: reasonOf(p.Rules, s), Decides: decides(hop, s), Unknown: s.Unknown,
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

// addrText returns an address, with its port if it has one.
func addrText(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return ""
	}
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}
