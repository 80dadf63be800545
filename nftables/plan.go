package nftables

// A Live table is what the kernel has of ours in one family.
type Live struct {
	Table
	Present bool // the table is there, though it may have no chains
}

// A Change is the replacement of the table of one family.
type Change struct {
	Before Live
	After  Table
}

// String returns the change as nft -f takes it.
func (c Change) String() string {
	text := c.After.String()
	if c.Before.Present {
		text = "delete table " + family(c.After.Family) + " " + Name + "\n" + text
	}
	return text
}

// Plan returns what makes the tables the wanted ones: nothing for those that are. It is pure.
func Plan(have []Live, want []Table) []Change {
	var changes []Change
	for i, w := range want {
		if have[i].Present != (len(w.Chains) > 0) || !have[i].Equal(w) {
			changes = append(changes, Change{have[i], w})
		}
	}
	return changes
}
