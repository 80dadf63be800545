package main

import (
	"net/netip"

	"istio-init/capture/infer"
	"istio-init/capture/path"
)

// The form of trace --output json.
type (
	traceJSON struct {
		Rules   string    `json:"rules"`             // what the rules are
		Variant string    `json:"variant,omitempty"` // of iptables, where they are live
		Family  string    `json:"family"`
		Certain bool      `json:"certain"`
		Doubts  []string  `json:"doubts,omitempty"`
		Legs    []legJSON `json:"legs"` // the connection, and those that the proxy opens for it
	}
	legJSON struct {
		Who      string      `json:"who"` // app, proxy or peer
		UID      *uint32     `json:"uid,omitempty"`
		GID      *uint32     `json:"gid,omitempty"`
		Protocol string      `json:"protocol"`
		From     string      `json:"from"`
		To       string      `json:"to"`
		In       string      `json:"in,omitempty"`
		Out      string      `json:"out,omitempty"`
		Mark     uint32      `json:"mark,omitempty"`
		State    string      `json:"state"`
		Landing  string      `json:"landing"`
		Port     uint16      `json:"port,omitempty"` // of the proxy or the agent
		Captured bool        `json:"captured"`
		Loop     bool        `json:"loop,omitempty"`
		Outcome  string      `json:"outcome"`
		Reason   string      `json:"reason,omitempty"`
		Stages   []stageJSON `json:"stages"`
	}
	stageJSON struct {
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
		Unknown []string `json:"unknown,omitempty"` // conditions that are not known here: it may take the packet
	}
)

// traced is the way of a connection for programs.
func traced(sc *scene, r *infer.Inference, legs path.Path) traceJSON {
	out := traceJSON{Rules: sc.name, Variant: sc.variant, Family: r.Rules.Family.String(), Doubts: doubtsOf(sc, legs)}
	out.Certain = len(out.Doubts) == 0
	for _, leg := range legs {
		l := legJSON{
			Who: leg.Who, Protocol: leg.Proto.String(), From: addrText(leg.Src), To: addrText(leg.Dst), In: leg.In, Out: leg.Out, Mark: leg.Mark,
			State: leg.State.String(), Landing: leg.Outcome.String(), Port: leg.Port, Captured: leg.Captured, Loop: leg.Loop,
			Outcome: outcomeText(leg), Stages: []stageJSON{},
		}
		if leg.Owner != nil {
			l.UID, l.GID = &leg.Owner.UID, &leg.Owner.GID
		}
		if leg.Decided != nil {
			l.Reason = leg.Decided.Reason
		}
		for _, stage := range leg.Hooks {
			l.Stages = append(l.Stages, stageOf(r, leg, stage))
		}
		out.Legs = append(out.Legs, l)
	}
	return out
}

func stageOf(r *infer.Inference, leg path.Hop, stage path.HookTrace) stageJSON {
	out := stageJSON{Hook: stage.Hook, Verdict: stage.Verdict.String(), Steps: []stepJSON{}}
	for _, s := range stage.Steps {
		step := stepJSON{Table: s.Table, Chain: s.Chain, Number: s.Index + 1, Rule: ruleText(r, s), Reason: reasonOf(r, s), Decides: decides(leg, s)}
		if s.Maybe {
			step.Unknown = s.Rule.Foreign.Conditions
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

// addrText is an address with its port where it has one.
func addrText(a netip.AddrPort) string {
	if !a.Addr().IsValid() {
		return ""
	}
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}
