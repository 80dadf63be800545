package iptables

// Lines returns the state as lines "TABLE CHAIN RULE", tables and chains in the
// order of iptables-save; a chain of ours begins with a line "TABLE CHAIN" of its
// own, since it may be there without rules.
func (s Snapshot) Lines() []string {
	var lines []string
	for _, t := range s.tables {
		for _, c := range t.sorted() {
			if Own(c.name) {
				lines = append(lines, t.name+" "+c.name)
			}
			for _, r := range c.rules {
				lines = append(lines, t.name+" "+c.name+" "+r)
			}
		}
	}
	return lines
}
