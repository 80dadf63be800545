package picture

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/iptables"
)

// A row is a group of rules, the end of a chain, or a port of the proxy.
type row struct {
	numbers, reason, condition string
	action                     string // of rules that jump nowhere
	group                      ruleGroup
	outs                       []viewRule // one rule for each way out of the row
	more                       bool       // there are other ways out
	end                        bool       // for packets that no rule takes
	port                       end        // of the proxy
}

// chain returns the node of a chain. A long list has one together with its branches.
func (g *graph) chain(c *chain) *node {
	chains := g.view.list(c)
	root := chains[0]
	key := "chain " + root.table + " " + root.name
	if n := g.byKey[key]; n != nil {
		return n
	}
	fill := node{kind: foreignNode, title: shorten(visible(root.name), maxLine), detail: visible(root.table), chains: chains}
	switch {
	case c.builtin:
		fill.kind = hookNode
	case c.own:
		fill.kind = chainNode
	}
	if len(chains) > 1 {
		fill.detail += fmt.Sprintf(", %d chains", len(chains))
	}
	n := g.node(key, fill)
	if n.kind == fill.kind && n.rows == nil {
		n.rows = g.rows(n)
	}
	return n
}

// list returns the chains of a long list, the root first, or only the chain.
func (v *view) list(c *chain) []*chain {
	root := v.find(c.table, listRoot(c.name))
	if root == nil || !root.own {
		return []*chain{c}
	}
	all := []*chain{root}
	for _, other := range v.chains {
		if other != root && other.table == c.table && listRoot(other.name) == root.name {
			all = append(all, other)
		}
	}
	return all
}

// listRoot returns the name of a chain without the number of a branch: ISTIO_INCLUDE
// of ISTIO_INCLUDE_12.
func listRoot(name string) string {
	if root := strings.TrimRight(name, "0123456789"); root != name && strings.HasSuffix(root, "_") {
		return strings.TrimSuffix(root, "_")
	}
	return name
}

// rows returns the rows of a node: all of its rules, or the first and the last ones
// and one for those in between.
func (g *graph) rows(n *node) []row {
	groups, most := grouped(n.chains[0].rules), maxRows
	if len(n.chains) > 1 {
		var rules []viewRule
		for _, c := range n.chains {
			rules = append(rules, slices.DeleteFunc(slices.Clone(c.rules), n.branches)...)
		}
		groups = sorted(rules)
	}
	if n.kind == foreignNode {
		most = maxForeignRows
	}
	var rows []row
	for i, group := range groups {
		switch first, last := most-lastRows, len(groups)-lastRows; {
		case len(groups) <= most || i < first || i >= last:
			rows = append(rows, newRow(n, group))
		case i == first:
			rest := ruleGroup{word: -1}
			for _, hidden := range groups[first:last] {
				rest.rules = append(rest.rules, hidden.rules...)
			}
			hidden := row{group: rest, numbers: rest.numbers(), reason: fmt.Sprintf("%d more rules", len(rest.rules))}
			hidden.outs, hidden.more = outs(rest.rules)
			rows = append(rows, hidden)
		}
	}
	return rows
}

// branches reports whether a rule goes to another chain of the same node.
func (n *node) branches(r viewRule) bool {
	return len(n.chains) > 1 && listRoot(r.target) == n.chains[0].name
}

// newRow returns the row of a group. Rules after which packets go on say what they do.
func newRow(n *node, group ruleGroup) row {
	r := row{group: group, numbers: group.numbers(), reason: group.reason(), condition: orAll(group.condition())}
	r.outs, r.more = outs(group.rules)
	if len(n.chains) > 1 {
		r.numbers = "" // of several chains
	}
	first := group.rules[0]
	if r.reason == "" && first.foreign && n.kind != foreignNode {
		r.reason = "foreign rule"
	}
	if first.target == "" && first.rule.Target != iptables.Return {
		r.action = "→ " + shorten(first.action, maxLine/2)
	}
	return r
}

// open reports whether packets of a frame reach the end of a chain.
func (n *node) open(f frame) bool {
	for _, c := range n.chains {
		if k := len(c.rules); k == 0 || !catchesAll(c.rules[k-1], f.proto) {
			return true
		}
	}
	return false
}

// endRow is the row for packets that no rule of a chain takes.
func (n *node) endRow() row {
	r := row{reason: "otherwise", end: true}
	if k := len(n.chains[0].rules); len(n.chains) == 1 && k > 0 && catchesAll(n.chains[0].rules[k-1], iptables.TCP) {
		r.reason = "not TCP"
	}
	if n.chains[0].drops {
		r.reason += ": policy DROP"
	}
	return r
}

// outs returns a rule for each way out of a row, at most a few; more tells that there
// are others.
func outs(rules []viewRule) (all []viewRule, more bool) {
	seen := map[string]bool{}
	for _, r := range rules {
		f, _ := frame{}.narrowed(r)
		key := fmt.Sprint(r.kind(), f.proto, f.device)
		switch {
		case seen[key]:
		case len(all) < maxOuts:
			all = append(all, r)
		default:
			more = true
		}
		seen[key] = true
	}
	return all, more
}
