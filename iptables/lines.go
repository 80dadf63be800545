package iptables

// Lines returns the state as lines "TABLE CHAIN RULE", tables and chains in the order of
// iptables-save. A chain of ours begins with a line "TABLE CHAIN" of its own, since it may
// have no rules.
func (s Snapshot) Lines(own Ownership) []string {
	var lines []string
	for _, t := range s.Tables {
		for _, c := range t.sorted() {
			if own.Has(t.Name, c.Name) {
				lines = append(lines, t.Name+" "+c.Name)
			}
			for _, r := range c.Rules {
				lines = append(lines, t.Name+" "+c.Name+" "+r.Text)
			}
		}
	}
	return lines
}
