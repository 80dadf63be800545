package picture

import (
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// A sheet is what is shown at once: the rules of one family, or of two that
// differ in nothing but addresses.
type sheet struct {
	families []iptables.Family
	differ   bool // addresses stand as IPV4|IPV6
	config   capture.Config
	captures bool
	chains   []*chain // in the order of tables and of chains
	byName   map[place]*chain
}

// A place names a chain.
type place struct{ table, name string }

// A chain of a sheet.
type chain struct {
	place
	builtin, own bool
	drops        bool // its policy, for what no rule ends
	rows         []row
}

// A row is a rule of a sheet, in words that print.
type row struct {
	number int // from 1
	rule   iptables.Rule
	when   string // "": every packet
	then   string
	goes   string // the chain in which it goes on; "": in none
	reason string // "" where it is not known
	others bool   // the rule is none of a mesh
}

// why is the reason of a rule, or why there is none.
func (r row) why() string {
	switch {
	case r.reason != "":
		return r.reason
	case r.others:
		return "of others"
	}
	return "not known"
}

// title names what is on a sheet.
func (s *sheet) title() string {
	switch {
	case len(s.families) < 2:
		return s.families[0].String()
	case s.differ:
		return "ipv4 and ipv6: the same rules but for addresses, which stand as IPV4|IPV6"
	}
	return "ipv4 and ipv6: the same rules"
}

// rules returns how many rules a sheet shows.
func (s *sheet) rules() int {
	n := 0
	for _, c := range s.chains {
		n += len(c.rows)
	}
	return n
}

// find returns a chain; nil where there is none of that name.
func (s *sheet) find(table, name string) *chain { return s.byName[place{table, name}] }

// sheets puts readings on as few sheets as is honest.
func sheets(readings []*capture.Reading) []*sheet {
	readings = slices.DeleteFunc(slices.Clone(readings), func(r *capture.Reading) bool { return r == nil })
	slices.SortStableFunc(readings, func(x, y *capture.Reading) int { return int(x.Rules.Family) - int(y.Rules.Family) })
	if len(readings) == 2 && alike(readings[0].Rules, readings[1].Rules) {
		return []*sheet{newSheet(readings[0], readings[1])}
	}
	var all []*sheet
	for _, r := range readings {
		all = append(all, newSheet(r, r))
	}
	return all
}

// alike tells whether the rules of two families differ in nothing but addresses.
func alike(a, b iptables.Ruleset) bool {
	return a.Family != b.Family && slices.EqualFunc(a.Tables, b.Tables, func(s, t iptables.Table) bool {
		return s.Name == t.Name && slices.EqualFunc(s.Chains, t.Chains, func(c, d iptables.Chain) bool {
			return c.Name == d.Name && c.Policy == d.Policy && slices.EqualFunc(c.Rules, d.Rules, func(r, o iptables.Rule) bool {
				return unaddressed(r) == unaddressed(o)
			})
		})
	})
}

// unaddressed is the text of a rule with every address exchanged for one.
func unaddressed(r iptables.Rule) string {
	some := netip.PrefixFrom(iptables.IPv6.Any(), 1)
	if r.Src.Set {
		r.Src.Val = some
	}
	if r.Dst.Set {
		r.Dst.Val = some
	}
	return r.Text(iptables.IPv4)
}

// newSheet puts a reading on a sheet, and another that is alike, or the same.
func newSheet(r, other *capture.Reading) *sheet {
	s := &sheet{families: []iptables.Family{r.Rules.Family}, captures: r.Captures(), byName: map[place]*chain{}}
	s.config = capture.Configuration(r, other)
	if r != other {
		s.families = append(s.families, other.Rules.Family)
	}
	for i, t := range r.Rules.Tables {
		for j, c := range t.Chains {
			pair := other.Rules.Tables[i].Chains[j].Rules
			s.add(t.Name, c, pair, func(n int) (string, string) {
				at := capture.Place{Table: t.Name, Chain: c.Name, Index: n}
				return r.Reason(at), other.Reason(at)
			})
		}
	}
	slices.SortStableFunc(s.chains, func(c, d *chain) int {
		if c.table != d.table {
			return compareTables(c.table, d.table)
		}
		return compareChains(c.table, c.name, d.name)
	})
	return s
}

// add takes a chain; pair are its rules in the other family.
func (s *sheet) add(table string, c iptables.Chain, pair []iptables.Rule, reasons func(int) (string, string)) {
	f := s.families[0]
	to := &chain{place: place{table, c.Name}, builtin: builtin(table, c.Name) >= 0, own: iptables.Own(c.Name), drops: c.Policy == iptables.Drop}
	for i, r := range c.Rules {
		reason, other := reasons(i)
		s.differ = s.differ || r.Src.Val != pair[i].Src.Val || r.Dst.Val != pair[i].Dst.Val
		to.rows = append(to.rows, row{
			number: i + 1, rule: r, goes: destination(r),
			when: visible(condition(f, r, pair[i])), then: visible(outcome(r)),
			reason: visible(both(reason, other)), others: ofOthers(c.Name, r, reason),
		})
	}
	s.chains = append(s.chains, to)
	s.byName[to.place] = to
}

// ofOthers tells whether a rule is none of a mesh: nothing is known of it, and it
// neither stands in a chain of ours nor leads to one.
func ofOthers(chain string, r iptables.Rule, reason string) bool {
	return reason == "" && !iptables.Own(chain) && !iptables.Own(destination(r))
}

// both is a reason of both families: words that differ stand as IPV4|IPV6.
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
