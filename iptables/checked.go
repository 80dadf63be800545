package iptables

// A Checked ruleset is valid, and its rules are written as the kernel prints them. With
// long lists that takes as long as to look at the kernel, and needs nothing of what is
// seen there. The zero value wants nothing of ours in IPv4.
type Checked struct {
	rules   Ruleset
	written []savedTable
}

// Check validates rules and writes them. The error is that of [Ruleset.Validate].
func (rs Ruleset) Check() (Checked, error) {
	if err := rs.Validate(); err != nil {
		return Nothing(rs.Family), err
	}
	return Checked{rs, rs.written()}, nil
}

// Nothing wants nothing of ours in a family.
func Nothing(f Family) Checked { return Checked{rules: Ruleset{Family: f}} }

// Rules returns the rules.
func (c Checked) Rules() Ruleset { return c.rules }

// written is the rules in the form of a snapshot.
func (rs Ruleset) written() []savedTable {
	var tables []savedTable
	for _, t := range rs.Tables {
		saved := savedTable{name: t.Name}
		for _, c := range t.Chains {
			saved.chains = append(saved.chains, savedChain{name: c.Name, policy: "-", rules: texts(c.Rules, rs.Family)})
		}
		tables = append(tables, saved)
	}
	return tables
}
