package picture

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"istio-init/capture/infer"
	"istio-init/capture/path"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/test/flow"
)

// TestEdgesAreTheWaysOfPackets: each edge of a graph is taken by a packet, and each
// packet takes only edges of the graph, by iptables.Trace.
func TestEdgesAreTheWaysOfPackets(t *testing.T) {
	t.Parallel()
	everyView(t, func(t *testing.T, v *view, readings []*infer.Inference) {
		w := newFollower(graphs([]*view{v})[0])
		for _, r := range readings {
			sendAll(w, r.Rules)
		}
		if diff := w.differences(); len(diff) > 0 {
			t.Errorf("%d differences:\n%s", len(diff), strings.Join(diff[:min(len(diff), 12)], "\n"))
		}
	})
}

// TestFlowsOfScenariosTakeEdges: the packets of the flows of each scenario take only
// edges of its graph.
func TestFlowsOfScenariosTakeEdges(t *testing.T) {
	t.Parallel()
	everyView(t, func(t *testing.T, v *view, readings []*infer.Inference) {
		c := flow.Config{Config: v.config}
		for _, r := range readings {
			c.Captured = append(c.Captured, r.Rules.Family)
		}
		for _, f := range flows(t) {
			w := newFollower(graphs([]*view{v})[0])
			for _, r := range readings {
				if slices.Contains(f.In(c.Captured), r.Rules.Family) {
					sendFlow(w, r.Rules, flow.PredictBy(c, r.Rules, f).Leg)
				}
			}
			if missing := w.missing(); len(missing) > 0 {
				t.Errorf("%s:\n%s", f.Line, strings.Join(missing, "\n"))
			}
		}
	})
}

// TestWrongEdgesAreFound: a graph that lacks an edge, or has one that leads elsewhere,
// fails the test of its edges.
func TestWrongEdgesAreFound(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redirect-default", "tproxy-default", "dns-servers", "long-exclude-list", "drop-invalid-tproxy"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := scenario(t, name)[0]
			w := newFollower(graphs(views([]*infer.Inference{r}, report.Reason))[0])
			sendAll(w, r.Rules)
			right := w.g.edges
			for i, e := range right {
				wrong := slices.Delete(slices.Clone(right), i, i+1)
				if w.g.edges = wrong; len(w.differences()) == 0 {
					t.Errorf("nothing is wrong without %s", e)
				}
				for _, n := range w.g.nodes {
					other := edge{e.from, port{n, -1}, e.way}
					if w.g.edges = append(slices.Clone(wrong), other); other != e && len(w.differences()) == 0 {
						t.Errorf("nothing is wrong with %s instead of %s", other, e)
					}
				}
			}
		})
	}
}

// everyView calls a test for the views of each scenario and of foreign rules.
func everyView(t *testing.T, test func(t *testing.T, v *view, readings []*infer.Inference)) {
	t.Helper()
	scenarios, _ := filepath.Glob("../../testdata/scenarios/*.txtar")
	foreign, _ := filepath.Glob("testdata/rules/*.txtar")
	if len(scenarios) == 0 || len(foreign) == 0 {
		t.Fatal("no scenarios or no foreign rules")
	}
	if testing.Short() { // one of four
		scenarios = slices.DeleteFunc(scenarios, func(path string) bool { return len(path)%4 != 0 })
	}
	for _, path := range slices.Concat(scenarios, foreign) {
		readings := archive(t, path)
		for _, v := range views(readings, report.Reason) {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar")+"/"+v.families[0].String(), func(t *testing.T) {
				t.Parallel()
				test(t, v, slices.DeleteFunc(slices.Clone(readings), func(r *infer.Inference) bool { return !slices.Contains(v.families, r.Rules.Family) }))
			})
		}
	}
}

// flows are those of the scenario that a test of everyView is for.
func flows(t *testing.T) []flow.Flow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../testdata/scenarios", strings.Split(t.Name(), "/")[1]+".txtar"))
	if err != nil {
		return nil // foreign rules
	}
	for _, f := range txtar.Parse(text).Files {
		if f.Name == "flows" {
			all, err := flow.Parse(string(f.Data))
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
	}
	return nil
}

// supposed returns rules whose unknown conditions hold.
func supposed(rs iptables.Ruleset) iptables.Ruleset {
	out := iptables.Ruleset{Family: rs.Family}
	for _, t := range rs.Tables {
		table := iptables.Table{Name: t.Name}
		for _, c := range t.Chains {
			c.Rules = slices.Clone(c.Rules)
			for i, r := range c.Rules {
				if r.Foreign != nil {
					known := *r.Foreign
					known.Conditions = nil
					c.Rules[i].Foreign = &known
				}
			}
			table.Chains = append(table.Chains, c)
		}
		out.Tables = append(out.Tables, table)
	}
	return out
}

// sendAll adds what packets need of every rule.
func sendAll(w *follower, rules iptables.Ruleset) {
	const maxUseless = 2000
	sendRandom(w, rules, maxUseless)
	if known := supposed(rules); !reflect.DeepEqual(known, rules) {
		sendRandom(w, known, maxUseless)
	}
	sendShadowed(w, rules)
}

// sendRandom follows random packets through every pass, until some number of them need
// no edges that earlier ones did not.
func sendRandom(w *follower, rules iptables.Ruleset, maxUseless int) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := newPool(rules)
	for _, p := range passes {
		if !slices.ContainsFunc(p.tables(), func(table string) bool { return len(rules.Table(table).Chain(p.hook).Rules) > 0 }) && !p.captures() {
			continue
		}
		for sent, last := 0, 0; sent-last < maxUseless; sent++ {
			before := len(w.needs) + len(w.leave)
			if w.follow(rules, p, values.packet(rng, p.hook)); len(w.needs)+len(w.leave) > before {
				last = sent
			}
		}
	}
}

// A from is the beginning of an edge of some way.
type from struct {
	port
	way
}

// sendShadowed adds the needs of rules that no packet meets, since other rules take all
// of theirs: those of packets without these rules.
func sendShadowed(w *follower, rules iptables.Ruleset) {
	met, rows, unproven := map[from]bool{}, map[port]bool{}, map[*node]bool{}
	for n := range w.needs {
		met[from{n.from, n.way}], rows[n.from] = true, true
	}
	for _, e := range w.unproven() {
		unproven[e.from.node] = true
	}
	for _, n := range w.g.nodes {
		for i, row := range n.rows {
			for _, r := range row.outs {
				to := w.g.view.find(n.chains[0].table, r.target)
				if at := (port{n, i}); len(n.chains) == 1 && (!rows[at] || to != nil && unproven[w.nodes[to]]) {
					w.sendAlone(rules, at, r, met)
				}
			}
		}
	}
}

// sendAlone adds the needs of a rule and of those below it that are not met, of packets
// that no other rule takes but the jumps that may lead there.
func (f *follower) sendAlone(rules iptables.Ruleset, at port, r viewRule, met map[from]bool) {
	below := map[*node]bool{}
	f.descend(at.node.chains[0].table, []viewRule{r}, below)
	alone := newFollower(f.g)
	sendRandom(alone, f.only(supposed(rules), at.node.chains[0], r, below), 400)
	for n, packet := range alone.needs {
		if !met[from{n.from, n.way}] && (n.from == at || below[n.from.node]) {
			f.needs[n], f.leave[n] = packet, f.leave[n] || alone.leave[n]
		}
	}
}

// descend collects the nodes to which rules jump, and those further on.
func (f *follower) descend(table string, rules []viewRule, below map[*node]bool) {
	for _, r := range rules {
		if to := f.g.view.find(table, r.target); to != nil && !below[f.nodes[to]] {
			below[f.nodes[to]] = true
			f.descend(table, to.rules, below)
		}
	}
}

// only returns the table of a rule in which only jumps, the rule and those of some nodes
// take packets.
func (f *follower) only(rs iptables.Ruleset, c *chain, r viewRule, nodes map[*node]bool) iptables.Ruleset {
	const unused = 254 // a protocol (RFC 3692)
	table := rs.Table(c.table)
	for _, t := range table.Chains {
		of := f.g.view.find(c.table, t.Name)
		for i, other := range of.rules {
			if other.target == "" && !nodes[f.nodes[of]] && (of != c || other.number != r.number) {
				t.Rules[i] = iptables.Rule{Match: iptables.Match{Proto: unused}, Target: iptables.Return}
			}
		}
	}
	return iptables.Ruleset{Family: rs.Family, Tables: []iptables.Table{table}}
}

// sendFlow follows the packet of a flow, also where it comes in again by lo.
func sendFlow(w *follower, rules iptables.Ruleset, leg path.Hop) {
	p := iptables.Packet{Proto: leg.Proto, Src: leg.Src, Dst: leg.Dst, Mark: leg.Mark, State: leg.State, Owner: leg.Owner, In: leg.In, Out: leg.Out}
	p.SYN = p.Proto == iptables.TCP && p.State == iptables.New
	if p.Owner == nil {
		w.follow(rules, passes[0], p)
		return
	}
	w.follow(rules, passes[1], p)
	p.Hook = iptables.Output
	if sent := rules.Trace(p).Packet; p.Out == "lo" && sent.RedirectedTo == 0 {
		sent.In, sent.Out, sent.Owner, sent.NATDone = "lo", "", nil, true
		w.follow(rules, passes[0], sent)
	}
}
