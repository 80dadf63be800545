package report

import (
	"net/netip"

	"istio-init/capture/path"
	"istio-init/capture/pod"
	"istio-init/netutil/inet"
)

// The document of trace --output json.
type (
	pathJSON struct {
		header
		Source   origin      `json:"source" jsonschema:"where the rules are from"`
		Backend  pod.Name    `json:"backend,omitempty" jsonschema:"who has the live rules"`
		Family   inet.Family `json:"family" jsonschema:"the address family of the connection"`
		Certain  bool        `json:"certain" jsonschema:"nothing may decide that is not understood"`
		Legs     []hopJSON   `json:"legs" jsonschema:"the connection, and those that the proxy opens for it"`
		Warnings []string    `json:"warnings,omitempty" jsonschema:"for people"`
		Notes    []string    `json:"notes,omitempty" jsonschema:"what was assumed or changed to read the rules, for people"`
		Caveats  []string    `json:"doubts,omitempty" jsonschema:"why the answer may be wrong, for people"`

		Rules   string `json:"rules" jsonschema:"deprecated: use source"`
		Variant string `json:"variant,omitempty" jsonschema:"deprecated: use backend"`
	}
	hopJSON struct {
		Who         string       `json:"who" jsonschema:"who opens the connection: app, proxy or peer"`
		UID         *uint32      `json:"uid,omitempty" jsonschema:"of the process; missing: it comes from outside"`
		GID         *uint32      `json:"gid,omitempty" jsonschema:"of the process"`
		Protocol    string       `json:"protocol" jsonschema:"tcp or udp"`
		Source      endpoint     `json:"source" jsonschema:"the source of the connection"`
		Destination endpoint     `json:"destination" jsonschema:"the destination of the connection"`
		In          string       `json:"in,omitempty" jsonschema:"the interface by which it comes from outside"`
		Out         string       `json:"out,omitempty" jsonschema:"the interface by which it leaves"`
		Mark        uint32       `json:"mark,omitempty" jsonschema:"the mark of its packets"`
		State       string       `json:"state" jsonschema:"the conntrack state of the packet"`
		Landing     path.Outcome `json:"landing" jsonschema:"where the connection ends"`
		Captured    bool         `json:"captured" jsonschema:"a rule sends it to the proxy or the agent"`
		Port        uint16       `json:"port,omitempty" jsonschema:"the port of the proxy or the agent; for the landing foreign the local port"`
		Redirected  *endpoint    `json:"redirected,omitempty" jsonschema:"where it is sent, for the landing elsewhere"`
		Loop        bool         `json:"loop,omitempty" jsonschema:"the connection of the proxy comes back to the proxy"`
		Decision    *decision    `json:"decided_by,omitempty" jsonschema:"what decides"`
		Reason      string       `json:"reason,omitempty" jsonschema:"why, for people"`
		Stages      []hookJSON   `json:"stages" jsonschema:"the hooks that the packet passes"`
		Behind      []hookJSON   `json:"behind,omitempty" jsonschema:"those of the answer or a later packet, where that is dropped"`

		From    string `json:"from" jsonschema:"deprecated: use source"`
		To      string `json:"to" jsonschema:"deprecated: use destination"`
		Sent    string `json:"redirected_to,omitempty" jsonschema:"deprecated: use redirected"`
		Outcome string `json:"outcome" jsonschema:"deprecated: use landing, captured, port and decided_by"`
	}
	endpoint struct {
		Address *netip.Addr `json:"address,omitempty" jsonschema:"missing: the kernel chooses it"`
		Port    uint16      `json:"port,omitempty" jsonschema:"missing: the kernel chooses it, or none was given"`
	}
	decision struct {
		Cause path.Cause `json:"cause" jsonschema:"the kind of the reason"`
		Table string     `json:"table,omitempty" jsonschema:"the table of the rule or the policy"`
		Chain string     `json:"chain,omitempty" jsonschema:"its chain"`
		// Number counts from 1.
		Number int  `json:"number,omitempty" jsonschema:"the rule in its chain, from 1, as iptables -L --line-numbers counts; missing: no rule decides"`
		Mesh   mesh `json:"mesh,omitempty" jsonschema:"whose the rule is"`
	}
	hookJSON struct {
		Hook    string     `json:"hook" jsonschema:"the hook of netfilter"`
		Verdict string     `json:"verdict" jsonschema:"what becomes of the packet there"`
		Steps   []stepJSON `json:"steps" jsonschema:"the rules that match"`
	}
	stepJSON struct {
		Table   string   `json:"table" jsonschema:"the table of iptables"`
		Chain   string   `json:"chain" jsonschema:"the chain"`
		Number  int      `json:"number" jsonschema:"the rule in its chain, from 1"`
		Rule    string   `json:"rule" jsonschema:"as iptables-save prints it behind -A CHAIN"`
		Reason  string   `json:"reason" jsonschema:"why the rule is there, for people"`
		Decides bool     `json:"decides,omitempty" jsonschema:"this rule decides"`
		Unknown []string `json:"unknown,omitempty" jsonschema:"conditions that cannot be evaluated: the rule may match"`
	}
)

func (p Path) document() any {
	out := pathJSON{
		header: newHeader(kindPath), Source: p.Source.origin(), Backend: pod.Name(p.Source.Variant),
		Rules: p.Source.Name, Variant: p.Source.Variant, Family: p.Rules.Rules.Family, Legs: []hopJSON{}, Warnings: p.Source.Warnings, Caveats: p.caveats(), Notes: p.Source.Notes,
	}
	out.Certain = len(out.Caveats) == 0
	for _, hop := range p.hops() {
		h := hopJSON{
			Who: hop.Who, Protocol: hop.Proto.String(), From: addrText(hop.Src), To: addrText(hop.Dst), In: hop.In, Out: hop.Out, Mark: hop.Mark,
			Source: newEndpoint(hop.Src), Destination: newEndpoint(hop.Dst),
			State: hop.State.String(), Landing: hop.Outcome, Port: hop.Port, Sent: addrText(hop.To), Captured: hop.Captured, Loop: hop.Loop,
			Outcome: p.outcomeText(hop), Stages: []hookJSON{},
		}
		if hop.Owner != nil {
			h.UID, h.GID = &hop.Owner.UID, &hop.Owner.GID
		}
		if hop.To.IsValid() {
			to := newEndpoint(hop.To)
			h.Redirected = &to
		}
		if hop.Decided != nil {
			h.Decision = decisionDocument(*hop.Decided)
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

// decisionDocument returns what decides, with the place of the rule where one does.
func decisionDocument(d path.Decision) *decision {
	out := &decision{Cause: d.Cause}
	if d.At.Table == "" {
		return out
	}
	out.Table, out.Chain = d.At.Table, d.At.Chain
	if d.Cause != path.ByPolicy {
		out.Number = d.At.Index + 1
	}
	switch {
	case !d.Others && d.Cause == path.ByRule:
		out.Mesh = ours
	case d.Others:
		out.Mesh = meshOf(d.Mesh)
	}
	return out
}

func newEndpoint(a netip.AddrPort) endpoint {
	e := endpoint{Port: a.Port()}
	if addr := a.Addr(); addr.IsValid() {
		e.Address = &addr
	}
	return e
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
