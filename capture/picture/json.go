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

// schemaNumber is the number of the format: it rises when a key goes or changes its meaning.
const schemaNumber = 1

// A Document is the format JSON.
type Document struct {
	Schema   int          `json:"schema" jsonschema:"the number of the format: it rises when a key goes or changes its meaning, not when one joins"`
	Kind     jsonKind     `json:"kind" jsonschema:"what the document is"`
	Families []jsonFamily `json:"families" jsonschema:"the rules, by address family"`
}

// A jsonKind says what the document is.
type jsonKind string

const kindRules jsonKind = "rules"

type jsonFamily struct {
	Family   inet.Family `json:"family" jsonschema:"the address family"`
	Captures bool        `json:"captures" jsonschema:"chains of ours are there"`
	Rules    int         `json:"rules" jsonschema:"how many rules there are"`
	Tables   []jsonTable `json:"tables" jsonschema:"in the order in which hooks ask them"`
}

type jsonTable struct {
	Table  string      `json:"table" jsonschema:"the table of iptables"`
	Chains []jsonChain `json:"chains" jsonschema:"its chains"`
}

type jsonChain struct {
	Chain  string     `json:"chain" jsonschema:"the name of the chain"`
	Own    bool       `json:"own" jsonschema:"it is ours"`
	Policy string     `json:"policy,omitempty" jsonschema:"of a built-in chain: ACCEPT or DROP"`
	Rules  []jsonRule `json:"rules" jsonschema:"its rules"`
}

type jsonRule struct {
	Number int        `json:"number" jsonschema:"from 1, as in iptables -L --line-numbers"`
	Text   string     `json:"text" jsonschema:"as iptables-save prints it behind -A CHAIN"`
	Match  jsonMatch  `json:"match" jsonschema:"what is known of its conditions"`
	Target jsonTarget `json:"target" jsonschema:"what it does with a packet"`
	Reason string     `json:"reason,omitempty" jsonschema:"why the rule is there, for people; missing where it is not known"`
	Others bool       `json:"others" jsonschema:"it is foreign"`
	// Foreign is there when match and target do not say all.
	Foreign *jsonForeign `json:"foreign,omitempty" jsonschema:"what match and target do not say"`
}

// A jsonCond is what a property has to be or must not be; one of the two is set.
type jsonCond[T any] struct {
	Is  *T `json:"is,omitempty" jsonschema:"what it has to be"`
	Not *T `json:"not,omitempty" jsonschema:"what it must not be"`
}

type jsonMatch struct {
	Source           *jsonCond[string]      `json:"source,omitempty" jsonschema:"a CIDR, such as 10.0.0.0/8"`
	Destination      *jsonCond[string]      `json:"destination,omitempty" jsonschema:"a CIDR, such as 10.0.0.0/8"`
	InInterface      *jsonCond[string]      `json:"in_interface,omitempty" jsonschema:"a name, or a pattern such as eth+"`
	OutInterface     *jsonCond[string]      `json:"out_interface,omitempty" jsonschema:"a name, or a pattern such as eth+"`
	Protocol         string                 `json:"protocol,omitempty" jsonschema:"tcp, udp or a number"`
	SourcePort       *jsonCond[jsonRange]   `json:"source_port,omitempty" jsonschema:"a range of ports"`
	DestinationPort  *jsonCond[jsonRange]   `json:"destination_port,omitempty" jsonschema:"a range of ports"`
	SYN              *jsonCond[bool]        `json:"syn,omitempty" jsonschema:"the first packet of a TCP connection"`
	DestinationPorts *jsonCond[[]jsonRange] `json:"destination_ports,omitempty" jsonschema:"ranges of ports"`
	Mark             *jsonCond[jsonMark]    `json:"mark,omitempty" jsonschema:"the mark of the packet"`
	ConnMark         *jsonCond[jsonMark]    `json:"conn_mark,omitempty" jsonschema:"the mark of the connection"`
	State            *jsonCond[[]string]    `json:"state,omitempty" jsonschema:"conntrack states, such as RELATED"`
	UIDs             []jsonCond[jsonRange]  `json:"uids,omitempty" jsonschema:"users of the process; all have to hold"`
	GIDs             []jsonCond[jsonRange]  `json:"gids,omitempty" jsonschema:"groups of the process; all have to hold"`
}

// A jsonTarget is a kind of target with its values.
type jsonTarget struct {
	Kind  TargetKind `json:"kind" jsonschema:"what the target is"`
	Chain string     `json:"chain,omitempty" jsonschema:"of jump and goto"`
	Port  uint16     `json:"port,omitempty" jsonschema:"of redirect and tproxy"`
	Mark  *jsonMark  `json:"mark,omitempty" jsonschema:"of tproxy and set_mark"`
	Zone  uint16     `json:"zone,omitempty" jsonschema:"of zone"`
	// ZoneDirection is "original" where only that direction is in the zone.
	ZoneDirection string `json:"zone_direction,omitempty" jsonschema:"of zone: original, if only that direction is in it"`
	Text          string `json:"text,omitempty" jsonschema:"of other: as iptables-save prints it behind -j"`
}

// A TargetKind is the kind of a target of a [Document].
type TargetKind string

type jsonRange struct {
	Lo uint32 `json:"lo" jsonschema:"the first value"`
	Hi uint32 `json:"hi" jsonschema:"the last value"`
}

type jsonMark struct {
	Value uint32 `json:"value" jsonschema:"the mark"`
	Mask  uint32 `json:"mask" jsonschema:"the bits of it that count"`
}

type jsonForeign struct {
	Conditions []string `json:"conditions,omitempty" jsonschema:"those that match does not have, as iptables-save prints them"`
}

// drawJSON returns readings for programs.
func drawJSON(readings []*infer.Inference, reason Reason) string {
	doc := Document{schemaNumber, kindRules, []jsonFamily{}}
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
	f := jsonFamily{Family: r.Rules.Family, Captures: r.Captures(), Rules: r.Rules.Len(), Tables: []jsonTable{}}
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
func condJSON[T, V any](c iptables.Cond[T], value func(T) V) *jsonCond[V] {
	if !c.Set {
		return nil
	}
	v := value(c.Val)
	if c.Neg {
		return &jsonCond[V]{Not: &v}
	}
	return &jsonCond[V]{Is: &v}
}

func matchJSON(m iptables.Match) jsonMatch {
	address := func(p netip.Prefix) string { return p.Masked().String() }
	name := func(v iptables.Interface) string { return string(v) }
	port := func(p iptables.PortRange) jsonRange { return jsonRange{uint32(p.Lo), uint32(p.Hi)} }
	id := func(r iptables.IDRange) jsonRange { return jsonRange(r) }
	mark := func(m iptables.Mark) jsonMark { return jsonMark(m) }
	out := jsonMatch{
		Source: condJSON(m.Src, address), Destination: condJSON(m.Dst, address),
		InInterface: condJSON(m.In, name), OutInterface: condJSON(m.Out, name),
		SourcePort: condJSON(m.SPort, port), DestinationPort: condJSON(m.DPort, port),
		SYN: condJSON(m.SYN, func(v bool) bool { return v }),
		DestinationPorts: condJSON(m.DPorts, func(list []iptables.PortRange) []jsonRange {
			all := []jsonRange{}
			for _, p := range list {
				all = append(all, port(p))
			}
			return all
		}),
		Mark: condJSON(m.Mark, mark), ConnMark: condJSON(m.ConnMark, mark),
		State: condJSON(m.State, func(s iptables.States) []string { return strings.Split(s.String(), ",") }),
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
		return jsonTarget{Kind: TargetKind(strings.ToLower(t.String()))}
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
