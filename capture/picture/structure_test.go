package picture

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"istio-init/capture/infer"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// numbered is a rule in a tree or a table: the line that begins with its number.
var numbered = map[Format]*regexp.Regexp{Tree: regexp.MustCompile(`(?m)^[│ ]*[├└]─ \d+ +\S`), Table: regexp.MustCompile(`(?m)^ {0,3}\d+  \S`)}

// TestEveryRuleIsShownOnce: a tree and a table have as many rules as a view, and
// JSON every rule of every family as it was.
func TestEveryRuleIsShownOnce(t *testing.T) {
	t.Parallel()
	everyReading(t, func(t *testing.T, readings []*infer.Inference) {
		want := 0
		for _, s := range views(readings, report.Reason) {
			want += s.count()
		}
		for _, form := range []Format{Tree, Table} {
			for _, width := range []int{60, 100, 250} {
				text := Draw(form, Terminal{Width: width}, report.Reason, readings...)
				if got := len(numbered[form].FindAllString(text, -1)); got != want && width == 250 {
					t.Errorf("%s: want %d rules, got %d\n%s", form, want, got, text)
				}
				for l := range strings.Lines(text) {
					if n := columns(strings.TrimSuffix(l, "\n")); n > width {
						t.Errorf("%s: a line of %d columns, want at most %d: %s", form, n, width, l)
					}
				}
			}
		}
		var doc Document
		if err := json.Unmarshal([]byte(Draw(JSON, Terminal{}, report.Reason, readings...)), &doc); err != nil {
			t.Fatal(err)
		}
		texts := map[string]int{}
		for i, r := range readings {
			for _, table := range r.Rules.Tables {
				for _, c := range table.Chains {
					for n, rule := range c.Rules {
						texts[fmt.Sprint(i, table.Name, c.Name, n+1, strings.ToValidUTF8(rule.Text(r.Rules.Family), "\ufffd"))]++
					}
				}
			}
		}
		for i, f := range doc.Families {
			for _, table := range f.Tables {
				for _, c := range table.Chains {
					for _, r := range c.Rules {
						texts[fmt.Sprint(i, table.Table, c.Chain, r.Number, strings.ReplaceAll(r.Text, "\ufffd\ufffd", "\ufffd"))]--
					}
				}
			}
		}
		for text, n := range texts {
			if n != 0 {
				t.Errorf("json: %q is there %d times less than it should be", text, n)
			}
		}
	})
}

// A readCond is a condition as a program reads it.
type readCond[T any] struct{ Is, Not *T }

func cond[T, U any](c readCond[T], to func(T) U) iptables.Cond[U] {
	switch {
	case c.Is != nil:
		return iptables.Is(to(*c.Is))
	case c.Not != nil:
		return iptables.Not(to(*c.Not))
	}
	return iptables.Cond[U]{}
}

// TestConditionsOfJSONMakeTheMatchAgain reads back what is known of rules.
func TestConditionsOfJSONMakeTheMatchAgain(t *testing.T) {
	t.Parallel()
	port := func(r jsonRange) iptables.PortRange { return iptables.PortRange{Lo: uint16(r.Lo), Hi: uint16(r.Hi)} }
	ports := func(list []jsonRange) (all []iptables.PortRange) {
		for _, r := range list {
			all = append(all, port(r))
		}
		return all
	}
	ids := func(list []readCond[jsonRange]) (all []iptables.Cond[iptables.IDRange]) {
		for _, c := range list {
			all = append(all, cond(c, func(r jsonRange) iptables.IDRange { return iptables.IDRange(r) }))
		}
		return all
	}
	mark := func(m jsonMark) iptables.Mark { return iptables.Mark(m) }
	asIs := func(p netip.Prefix) netip.Prefix { return p }
	everyReading(t, func(t *testing.T, readings []*infer.Inference) {
		for _, rule := range rulesOf(readings) {
			text, err := json.Marshal(matchJSON(rule.Match))
			if err != nil {
				t.Fatal(err)
			}
			var m struct {
				Source, Destination readCond[netip.Prefix]
				InInterface         readCond[string]      `json:"in_interface"`
				OutInterface        readCond[string]      `json:"out_interface"`
				SourcePort          readCond[jsonRange]   `json:"source_port"`
				DestinationPort     readCond[jsonRange]   `json:"destination_port"`
				DestinationPorts    readCond[[]jsonRange] `json:"destination_ports"`
				SYN                 readCond[bool]
				Mark                readCond[jsonMark]
				ConnMark            readCond[jsonMark] `json:"conn_mark"`
				UIDs, GIDs          []readCond[jsonRange]
			}
			if err := json.Unmarshal(text, &m); err != nil {
				t.Fatal(err)
			}
			link := func(s string) iptables.Interface { return iptables.Interface(s) }
			got := iptables.Match{
				Src: cond(m.Source, asIs), Dst: cond(m.Destination, asIs), In: cond(m.InInterface, link), Out: cond(m.OutInterface, link),
				Proto: rule.Proto, SPort: cond(m.SourcePort, port), DPort: cond(m.DestinationPort, port), SYN: cond(m.SYN, func(b bool) bool { return b }),
				DPorts: cond(m.DestinationPorts, ports), Mark: cond(m.Mark, mark), ConnMark: cond(m.ConnMark, mark), State: rule.State,
				UIDs: ids(m.UIDs), GIDs: ids(m.GIDs),
			}
			if want, got := (iptables.Rule{Match: rule.Match}).Text(0), (iptables.Rule{Match: got}).Text(0); want != got && !strings.Contains(want, "\x01") {
				t.Errorf("%s: want %q, got %q", text, want, got)
			}
		}
	})
}

func rulesOf(readings []*infer.Inference) (all []iptables.Rule) {
	for _, r := range readings {
		for _, table := range r.Rules.Tables {
			for _, c := range table.Chains {
				all = append(all, c.Rules...)
			}
		}
	}
	return all
}

// TestNothingMovesATerminal: what a form for one prints are characters that do.
func TestNothingMovesATerminal(t *testing.T) {
	t.Parallel()
	r := read(t, inet.IPv4, hostile())
	for _, form := range []Format{Tree, Table, Dot, Mermaid} {
		for i, c := range Draw(form, Terminal{}, report.Reason, r) {
			if c != '\n' && c != '\t' && (!unicode.IsPrint(c) || c == utf8.RuneError) {
				t.Errorf("%s: %q at %d", form, c, i)
			}
		}
	}
	if got := Draw(Tree, Terminal{Colour: true}, report.Reason, r); !strings.Contains(got, "\x1b[1m") || strings.Count(got, "\x1b[0m")*2 != strings.Count(got, "\x1b[") {
		t.Errorf("colours are not ended:\n%s", got)
	}
}

var (
	dotNode     = regexp.MustCompile(`^\t+([ab]\d+) \[label=<(.*)>\]$`)
	dotEdge     = regexp.MustCompile(`^\t+([ab]\d+):(\w+):[ew] -> ([ab]\d+):(\w+):[ew] \[(.*)\]$`)
	dotGraph    = regexp.MustCompile(`^\tgraph \[.* label=<(.*)>\]$`)
	dotCluster  = regexp.MustCompile(`^\t\tlabel=<(.*)>$`)
	dotRest     = regexp.MustCompile(`^(digraph rules {|\tsubgraph cluster_\d {|\t\tcolor="#d0d7de"|\t?}|\t(node|edge) \[[^<>]*\]|\t+{ rank=same; (edge \[style=invis\]; )?[ab\d;> -]* })$`)
	mermaidNode = regexp.MustCompile(`^    ([ab]\d+)(\(\[|\[\[|\[|\(|\{\{)"[^"]*"(\]\)|\]\]|\]|\)|\}\})$`)
	mermaidEdge = regexp.MustCompile(`^    ([ab]\d+) (?:-->|==>|-\.->|--x)(?:\|"[^"|]*"\|)? ([ab]\d+)$`)
	mermaidRest = regexp.MustCompile(`^(flowchart LR|  subgraph s\d+\["[^"]*"\]|  end|  linkStyle [\d,]+ [a-z0-9:#, -]+)$`)
)

// labelPorts returns the ports of a label, which has to be well formed.
func labelPorts(t *testing.T, label string) map[string]bool {
	t.Helper()
	ports := map[string]bool{}
	d := xml.NewDecoder(strings.NewReader("<label>" + label + "</label>"))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return ports
		}
		if err != nil {
			t.Errorf("%v: %s", err, label)
			return ports
		}
		if e, ok := token.(xml.StartElement); ok {
			if !slices.Contains([]string{"label", "table", "tr", "td", "b", "br", "font"}, e.Name.Local) {
				t.Errorf("element %s: %s", e.Name.Local, label)
			}
			for _, a := range e.Attr {
				if a.Name.Local == "port" {
					ports[a.Value] = true
				}
			}
		}
	}
}

// TestDotIsWellFormed: each line has one of a few forms, labels are well formed HTML, and
// edges join ports that exist.
func TestDotIsWellFormed(t *testing.T) {
	t.Parallel()
	everyReading(t, func(t *testing.T, readings []*infer.Inference) {
		ports := map[string]map[string]bool{}
		edges := 0
		for l := range strings.Lines(Draw(Dot, Terminal{}, report.Reason, readings...)) {
			l = strings.TrimSuffix(l, "\n")
			if m := dotNode.FindStringSubmatch(l); m != nil {
				ports[m[1]] = labelPorts(t, m[2])
			} else if m := dotEdge.FindStringSubmatch(l); m != nil {
				edges++
				if !ports[m[1]][m[2]] || !ports[m[3]][m[4]] {
					t.Errorf("a port does not exist: %s", l)
				}
			} else if m := dotGraph.FindStringSubmatch(l); m != nil {
				labelPorts(t, m[1])
			} else if m := dotCluster.FindStringSubmatch(l); m != nil {
				labelPorts(t, m[1])
			} else if !dotRest.MatchString(l) {
				t.Errorf("%q", l)
			}
		}
		if want := count(readings, func(g *graph) int { return len(g.nodes) }); len(ports) != want {
			t.Errorf("want %d nodes, got %d", want, len(ports))
		}
		if want := count(readings, func(g *graph) int { return len(g.edges) }); edges != want || edges == 0 || edges > 500 {
			t.Errorf("want %d edges and at most 500, got %d", want, edges)
		}
	})
}

// count adds up a number of each graph of readings.
func count(readings []*infer.Inference, of func(*graph) int) int {
	n := 0
	for _, g := range graphs(views(readings, report.Reason)) {
		n += of(g)
	}
	return n
}

// TestMermaidIsWellFormed: each line has one of a few forms, edges join nodes that exist,
// and there is not more than Mermaid draws.
func TestMermaidIsWellFormed(t *testing.T) {
	t.Parallel()
	everyReading(t, func(t *testing.T, readings []*infer.Inference) {
		nodes, edges := map[string]bool{}, 0
		mermaid := Draw(Mermaid, Terminal{}, report.Reason, readings...)
		for l := range strings.Lines(mermaid) {
			l = strings.TrimSuffix(l, "\n")
			if m := mermaidNode.FindStringSubmatch(l); m != nil {
				nodes[m[1]] = true
			} else if m := mermaidEdge.FindStringSubmatch(l); m != nil {
				edges++
				if !nodes[m[1]] || !nodes[m[2]] {
					t.Errorf("a node does not exist: %s", l)
				}
			} else if !mermaidRest.MatchString(l) {
				t.Errorf("%q", l)
			}
		}
		if want := count(readings, func(g *graph) int { return len(g.nodes) }); len(nodes) != want {
			t.Errorf("want %d nodes, got %d", want, len(nodes))
		}
		if want := count(readings, func(g *graph) int { return len(g.joined()) }); edges != want || edges == 0 {
			t.Errorf("want %d edges, got %d", want, edges)
		}
		if len(mermaid) > 50_000 || edges > 500 { // what Mermaid draws at the most
			t.Errorf("%d bytes, %d edges: too many", len(mermaid), edges)
		}
	})
}
