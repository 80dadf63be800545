package picture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A view is rules in the form in which every format but save and JSON shows them:
// those of one family, or of two that differ only in addresses.
type view struct {
	families []inet.Family
	differ   bool // some addresses are shown as IPV4|IPV6
	config   capture.Config
	captures bool         // there are chains of ours
	ambient  bool         // Istio's ambient mode is there
	meshes   []infer.Mesh // other ones that redirect connections
	ours     iptables.Ownership
	chains   []*chain // sorted by table and name
	byName   map[chainKey]*chain
}

// A chainKey names a chain.
type chainKey struct{ table, name string }

// A chain of a view.
type chain struct {
	chainKey
	builtin, own bool
	drops        bool // its policy is DROP
	rules        []viewRule
}

// A viewRule is a rule with its texts, which hold only printable characters.
type viewRule struct {
	number    int // from 1
	rule      iptables.Rule
	condition string // "": matches every packet
	action    string
	target    string // the chain of a jump or goto; "": none
	reason    string // "": unknown
	foreign   bool   // not a rule of a mesh
}

// why returns the reason of a rule, or why there is none.
func (r viewRule) why() string {
	switch {
	case r.reason != "":
		return r.reason
	case r.foreign:
		return "foreign rule"
	}
	return "unknown"
}

// title names the families of a view.
func (v *view) title() string {
	switch {
	case len(v.families) < 2:
		return v.families[0].String()
	case v.differ:
		return "ipv4 and ipv6: the same rules except addresses, shown as IPV4|IPV6"
	}
	return "ipv4 and ipv6: the same rules"
}

// heading names the mode, the families and the number of rules.
func (v *view) heading() string {
	mode := "no rules of a mesh"
	switch {
	case v.ambient:
		mode = "Istio's ambient mode"
	case v.captures:
		mode = "mode " + v.config.Mode.String()
	case len(v.meshes) > 0:
		mode = "rules of " + v.meshes[0].String()
	}
	families, rules := v.families[0].String(), v.count()*len(v.families)
	if len(v.families) > 1 {
		families += " and " + v.families[1].String()
	}
	if v.differ {
		families += " (IPV4|IPV6)"
	}
	return fmt.Sprintf("%s, %s, %d rules", mode, families, rules)
}

// count returns the number of rules.
func (v *view) count() int {
	n := 0
	for _, c := range v.chains {
		n += len(c.rules)
	}
	return n
}

// find returns the chain of that name; nil: there is none.
func (v *view) find(table, name string) *chain { return v.byName[chainKey{table, name}] }

// views returns one view for two families that differ only in addresses, else one
// for each reading.
func views(readings []*infer.Inference, reason Reason) []*view {
	readings = slices.DeleteFunc(slices.Clone(readings), func(r *infer.Inference) bool { return r == nil })
	slices.SortStableFunc(readings, func(x, y *infer.Inference) int { return int(x.Rules.Family) - int(y.Rules.Family) })
	if len(readings) == 2 && alike(readings[0].Rules, readings[1].Rules) {
		return []*view{newView(readings[0], readings[1], reason)}
	}
	var all []*view
	for _, r := range readings {
		all = append(all, newView(r, r, reason))
	}
	return all
}

// alike reports whether the rules of two families differ only in addresses.
func alike(a, b iptables.Ruleset) bool {
	return a.Family != b.Family && slices.EqualFunc(a.Tables, b.Tables, func(s, t iptables.Table) bool {
		return s.Name == t.Name && slices.EqualFunc(s.Chains, t.Chains, func(c, d iptables.Chain) bool {
			return c.Name == d.Name && c.Policy == d.Policy && slices.EqualFunc(c.Rules, d.Rules, func(r, o iptables.Rule) bool {
				return unaddressed(r) == unaddressed(o)
			})
		})
	})
}

// unaddressed returns the text of a rule with every address replaced by the same one.
func unaddressed(r iptables.Rule) string {
	some := netip.PrefixFrom(inet.IPv6.Any(), 1)
	if r.Src.Set {
		r.Src.Val = some
	}
	if r.Dst.Set {
		r.Dst.Val = some
	}
	return r.Text(inet.IPv4)
}

// newView makes a view of a reading and the one of the other family, or of the same
// reading twice.
func newView(r, other *infer.Inference, reason Reason) *view {
	v := &view{families: []inet.Family{r.Rules.Family}, captures: r.Captures(), ambient: r.Ambient, meshes: r.Meshes(), ours: r.Own, byName: map[chainKey]*chain{}}
	v.config = infer.Configuration(r, other)
	if r != other {
		v.families = append(v.families, other.Rules.Family)
	}
	for i, t := range r.Rules.Tables {
		for j, c := range t.Chains {
			v.add(t.Name, c, other.Rules.Tables[i].Chains[j].Rules, reason)
		}
	}
	slices.SortStableFunc(v.chains, func(c, d *chain) int {
		if c.table != d.table {
			return compareTables(c.table, d.table)
		}
		return compareChains(c.table, c.name, d.name)
	})
	return v
}

// add adds a chain; pair are its rules in the other family.
func (v *view) add(table string, c iptables.Chain, pair []iptables.Rule, reason Reason) {
	f := v.families[0]
	to := &chain{chainKey: chainKey{table, c.Name}, builtin: builtin(table, c.Name) >= 0, own: v.ours.Has(table, c.Name), drops: c.Policy == iptables.Drop}
	for i, r := range c.Rules {
		v.differ = v.differ || r.Src.Val != pair[i].Src.Val || r.Dst.Val != pair[i].Dst.Val
		to.rules = append(to.rules, viewRule{
			number: i + 1, rule: r, target: destination(r),
			condition: visible(condition(f, r, pair[i])), action: visible(outcome(r)),
			reason: visible(both(reason(r), reason(pair[i]))), foreign: isForeign(v.ours, to.chainKey, r),
		})
	}
	v.chains = append(v.chains, to)
	v.byName[to.chainKey] = to
}

// isForeign reports whether a rule of a chain is foreign: its role is unknown, and it is
// neither in a chain of ours nor jumps to one.
func isForeign(own iptables.Ownership, at chainKey, r iptables.Rule) bool {
	return r.Role == capture.RoleUnknown && !own.Has(at.table, at.name) && !own.Has(at.table, destination(r))
}

// both merges the reasons of two families: words that differ become IPV4|IPV6.
func both(reason, other string) string {
	if reason == other {
		return reason
	}
	words, others := strings.Split(reason, " "), strings.Split(other, " ")
	if len(words) != len(others) {
		return reason + " (ipv6: " + other + ")"
	}
	for i, w := range others {
		if w != words[i] {
			words[i] += "|" + w
		}
	}
	return strings.Join(words, " ")
}
