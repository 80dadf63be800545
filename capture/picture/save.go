package picture

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
)

// drawSave prints rules as iptables-save does, under the name of the program of
// each family.
func drawSave(readings []*capture.Reading) string {
	var b strings.Builder
	for _, r := range readings {
		if r != nil && len(r.Rules.Tables) > 0 {
			fmt.Fprintf(&b, "# %s\n", xtables.SaveTool(r.Rules.Family))
			saveRules(&b, r.Rules)
		}
	}
	return b.String()
}

// saveRules prints tables by name, and their chains with those that the kernel
// has in any case.
func saveRules(b *strings.Builder, rs iptables.Ruleset) {
	tables := slices.Clone(rs.Tables)
	slices.SortStableFunc(tables, func(s, t iptables.Table) int { return strings.Compare(s.Name, t.Name) })
	for _, t := range tables {
		chains := slices.Clone(t.Chains)
		for _, h := range hooks {
			if h.calls(t.Name) && !slices.ContainsFunc(chains, func(c iptables.Chain) bool { return c.Name == h.name }) {
				chains = append(chains, iptables.Chain{Name: h.name})
			}
		}
		slices.SortStableFunc(chains, func(c, d iptables.Chain) int { return compareChains(t.Name, c.Name, d.Name) })
		fmt.Fprintf(b, "*%s\n", t.Name)
		for _, c := range chains {
			fmt.Fprintf(b, ":%s %s [0:0]\n", c.Name, policy(t.Name, c))
		}
		for _, c := range chains {
			for _, r := range c.Rules {
				b.WriteString(strings.TrimSuffix("-A "+c.Name+" "+r.Text(rs.Family), " ") + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	}
}

// policy is what becomes of packets that no rule of a chain ends; "-" where the
// chain is not built in.
func policy(table string, c iptables.Chain) string {
	switch {
	case builtin(table, c.Name) < 0:
		return "-"
	case c.Policy == iptables.Drop:
		return iptables.Drop.String()
	}
	return iptables.Accept.String()
}
