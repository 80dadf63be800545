package picture

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// The types of this file are the format JSON; the names of their fields do not change.
// An omitted field has its zero value.

// jsonDoc is the document.
type jsonDoc struct {
	Families []jsonFamily `json:"families"`
}

type jsonFamily struct {
	Family   string      `json:"family"`   // "ipv4" or "ipv6"
	Captures bool        `json:"captures"` // chains of ours are there
	Rules    int         `json:"rules"`    // how many there are
	Tables   []jsonTable `json:"tables"`   // in the order in which hooks ask them
}

type jsonTable struct {
	Table  string      `json:"table"`
	Chains []jsonChain `json:"chains"`
}

type jsonChain struct {
	Chain  string     `json:"chain"`
	Own    bool       `json:"own"`              // it is ours
	Policy string     `json:"policy,omitempty"` // of a built-in chain: "ACCEPT" or "DROP"
	Rules  []jsonRule `json:"rules"`
}

type jsonRule struct {
	Number int        `json:"number"` // from 1, as in iptables -L --line-numbers
	Text   string     `json:"text"`   // as iptables-save prints it behind "-A CHAIN "
	Match  jsonMatch  `json:"match"`  // what is known of its conditions
	Target jsonTarget `json:"target"`
	Reason string     `json:"reason,omitempty"` // not there where it is not known
	Others bool       `json:"others"`           // it is foreign
	// Foreign is there when match and target do not say all.
	Foreign *jsonForeign `json:"foreign,omitempty"`
}

// A jsonCond is what a property has to be or must not be; one of the two is set.
type jsonCond struct {
	Is  any `json:"is,omitempty"`
	Not any `json:"not,omitempty"`
}

type jsonMatch struct {
	Source           *jsonCond  `json:"source,omitempty"`            // "10.0.0.0/8"
	Destination      *jsonCond  `json:"destination,omitempty"`       // "10.0.0.0/8"
	InInterface      *jsonCond  `json:"in_interface,omitempty"`      // "eth0", "eth+"
	OutInterface     *jsonCond  `json:"out_interface,omitempty"`     // likewise
	Protocol         string     `json:"protocol,omitempty"`          // "tcp", "udp" or a number
	SourcePort       *jsonCond  `json:"source_port,omitempty"`       // {"lo": 53, "hi": 53}
	DestinationPort  *jsonCond  `json:"destination_port,omitempty"`  // likewise
	SYN              *jsonCond  `json:"syn,omitempty"`               // true
	DestinationPorts *jsonCond  `json:"destination_ports,omitempty"` // a list of them
	Mark             *jsonCond  `json:"mark,omitempty"`              // {"value": 1337, "mask": 4294967295}
	ConnMark         *jsonCond  `json:"conn_mark,omitempty"`         // likewise
	State            *jsonCond  `json:"state,omitempty"`             // ["RELATED", "ESTABLISHED"]
	UIDs             []jsonCond `json:"uids,omitempty"`              // each {"lo": 1337, "hi": 1337}; all have to hold
	GIDs             []jsonCond `json:"gids,omitempty"`              // likewise
}

// A jsonTarget is a kind of target with its values.
type jsonTarget struct {
	// Kind is jump, goto, return, accept, drop, redirect, tproxy, set_mark, save_mark,
	// restore_mark, zone, other or none.
	Kind  string    `json:"kind"`
	Chain string    `json:"chain,omitempty"` // of jump, goto
	Port  uint16    `json:"port,omitempty"`  // of redirect, tproxy
	Mark  *jsonMark `json:"mark,omitempty"`  // of tproxy, set_mark
	Zone  uint16    `json:"zone,omitempty"`  // of zone
	// ZoneDirection is "original" where only that direction is in the zone.
	ZoneDirection string `json:"zone_direction,omitempty"`
	Text          string `json:"text,omitempty"` // of other: as printed behind -j
}

type jsonRange struct {
	Lo uint32 `json:"lo"`
	Hi uint32 `json:"hi"`
}

type jsonMark struct {
	Value uint32 `json:"value"`
	Mask  uint32 `json:"mask"`
}

type jsonForeign struct {
	Conditions []string `json:"conditions,omitempty"` // those that match does not have, as printed
}

// drawJSON returns readings for programs.
func drawJSON(readings []*infer.Inference, reason Reason) string {
	doc := jsonDoc{Families: []jsonFamily{}}
	for _, r := range readings {
		if r != nil {
			doc.Families = append(doc.Families, familyJSON(r, reason))
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		panic(err) // these types have nothing that cannot be encoded
	}
	return b.String()
}

func familyJSON(r *infer.Inference, reason Reason) jsonFamily {
	f := jsonFamily{Family: r.Rules.Family.String(), Captures: r.Captures(), Rules: r.Rules.Len(), Tables: []jsonTable{}}
	for _, t := range r.Rules.Tables {
		table := jsonTable{Table: t.Name, Chains: []jsonChain{}}
		for _, c := range t.Chains {
			chain := jsonChain{Chain: c.Name, Own: r.Own.Has(t.Name, c.Name), Rules: []jsonRule{}}
			if p := policy(t.Name, c); p != "-" {
				chain.Policy = p
			}
			for i, rule := range c.Rules {
				chain.Rules = append(chain.Rules, ruleJSON(r.Rules.Family, rule, i+1, reason(rule), isForeign(r.Own, chainKey{t.Name, c.Name}, rule)))
			}
			table.Chains = append(table.Chains, chain)
		}
		slices.SortStableFunc(table.Chains, func(c, d jsonChain) int { return compareChains(t.Name, c.Chain, d.Chain) })
		f.Tables = append(f.Tables, table)
	}
	slices.SortStableFunc(f.Tables, func(s, t jsonTable) int { return compareTables(s.Table, t.Table) })
	return f
}

func ruleJSON(f inet.Family, r iptables.Rule, number int, reason string, others bool) jsonRule {
	out := jsonRule{Number: number, Text: r.Text(f), Match: matchJSON(r.Match), Target: targetJSON(r), Reason: reason, Others: others}
	if r.Foreign != nil {
		out.Foreign = &jsonForeign{Conditions: r.Foreign.Conditions}
	}
	return out
}

// condJSON returns a condition; nil if there is none.
func condJSON[T any](c iptables.Cond[T], value func(T) any) *jsonCond {
	switch {
	case !c.Set:
		return nil
	case c.Neg:
		return &jsonCond{Not: value(c.Val)}
	}
	return &jsonCond{Is: value(c.Val)}
}

func matchJSON(m iptables.Match) jsonMatch {
	address := func(p netip.Prefix) any { return p.Masked().String() }
	asIs := func(v iptables.Interface) any { return string(v) }
	port := func(p iptables.PortRange) any { return jsonRange{uint32(p.Lo), uint32(p.Hi)} }
	id := func(r iptables.IDRange) any { return jsonRange(r) }
	mark := func(m iptables.Mark) any { return jsonMark(m) }
	out := jsonMatch{
		Source: condJSON(m.Src, address), Destination: condJSON(m.Dst, address),
		InInterface: condJSON(m.In, asIs), OutInterface: condJSON(m.Out, asIs),
		SourcePort: condJSON(m.SPort, port), DestinationPort: condJSON(m.DPort, port),
		SYN: condJSON(m.SYN, func(v bool) any { return v }),
		DestinationPorts: condJSON(m.DPorts, func(list []iptables.PortRange) any {
			all := []any{}
			for _, p := range list {
				all = append(all, port(p))
			}
			return all
		}),
		Mark: condJSON(m.Mark, mark), ConnMark: condJSON(m.ConnMark, mark),
		State: condJSON(m.State, func(s iptables.States) any { return strings.Split(s.String(), ",") }),
	}
	if m.Proto != 0 {
		out.Protocol = m.Proto.String()
	}
	for _, c := range m.UIDs {
		out.UIDs = append(out.UIDs, *condJSON(c, id))
	}
	for _, c := range m.GIDs {
		out.GIDs = append(out.GIDs, *condJSON(c, id))
	}
	return out
}

func targetJSON(r iptables.Rule) jsonTarget {
	switch t := r.Target.(type) {
	case iptables.Jump:
		return jsonTarget{Kind: "jump", Chain: t.Chain}
	case iptables.Goto:
		return jsonTarget{Kind: "goto", Chain: t.Chain}
	case iptables.Verdict:
		return jsonTarget{Kind: strings.ToLower(t.String())}
	case iptables.Redirect:
		return jsonTarget{Kind: "redirect", Port: t.Port}
	case iptables.TProxy:
		return jsonTarget{Kind: "tproxy", Port: t.Port, Mark: &jsonMark{t.Mark.Value, t.Mark.Mask}}
	case iptables.SetMark:
		return jsonTarget{Kind: "set_mark", Mark: &jsonMark{t.Mark.Value, t.Mark.Mask}}
	case iptables.SaveMark:
		return jsonTarget{Kind: "save_mark"}
	case iptables.RestoreMark:
		return jsonTarget{Kind: "restore_mark"}
	case iptables.Zone:
		zone := jsonTarget{Kind: "zone", Zone: t.ID}
		if t.Original {
			zone.ZoneDirection = "original"
		}
		return zone
	}
	if r.Foreign != nil && r.Foreign.Target != "" {
		return jsonTarget{Kind: "other", Text: r.Foreign.Target}
	}
	return jsonTarget{Kind: "none"}
}

// policy returns the policy of a built-in chain; "-" for any other chain.
func policy(table string, c iptables.Chain) string {
	switch {
	case builtin(table, c.Name) < 0:
		return "-"
	case c.Policy == iptables.Drop:
		return iptables.Drop.String()
	}
	return iptables.Accept.String()
}
