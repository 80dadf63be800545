package xtables

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/iptables"
)

// Plan returns the change of one family that makes our rules the wanted ones. It is pure.
// To want nothing of a family that has no tables is no error.
func Plan(v Variant, have FamilyState, want iptables.Ruleset) (iptables.Change, error) {
	nothing := iptables.Change{Family: want.Family, Before: have.Rules, After: have.Rules, Own: have.Own}
	if err := want.Validate(); err != nil {
		return nothing, err
	}
	if len(want.Tables) == 0 && !have.Present {
		return nothing, nil
	}
	if have.Err != nil {
		return nothing, fmt.Errorf("%s: %w", v.of(want.Family), have.Err)
	}
	for _, t := range want.Tables {
		if i := slices.IndexFunc(have.Unprinted, func(u *NFTRulesError) bool { return u.Table == t.Name }); i >= 0 {
			return nothing, fmt.Errorf("%s: %w", v.of(want.Family), have.Unprinted[i])
		}
		if slices.Contains(have.Rules.Unreadable, t.Name) {
			return nothing, fmt.Errorf("%s: %w", v.of(want.Family), &NFTRulesError{Table: t.Name})
		}
	}
	if foreign := have.foreign(want); len(foreign) > 0 {
		return nothing, fmt.Errorf("%s: chains of these names are there and are not ours: %s", v.of(want.Family), strings.Join(foreign, ", "))
	}
	change := iptables.Plan(have.Rules, have.Own, want)
	if err := writable(change); err != nil {
		return nothing, fmt.Errorf("%s: %w", v.of(want.Family), err)
	}
	return change, nil
}

// writable returns an error for a rule with a line end, which would be several lines of a
// script: the comment of a foreign rule that jumps to our chains may have any.
func writable(c iptables.Change) error {
	for _, e := range c.Edits {
		for _, r := range slices.Concat(e.Delete, e.Add) {
			if strings.ContainsAny(r.Rule.Text, "\n\x00") {
				return fmt.Errorf("%s %s: iptables-restore cannot read a rule with a line end: %q: delete it by its number (iptables -D %s NUMBER)", e.Table, r.Chain, r.Rule.Text, r.Chain)
			}
		}
	}
	return nil
}

// foreign returns the wanted chains that exist and are not ours, as "TABLE CHAIN".
func (s FamilyState) foreign(want iptables.Ruleset) []string {
	var names []string
	for _, t := range want.Tables {
		for _, live := range s.Rules.Table(t.Name).Chains {
			wanted := slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool { return c.Name == live.Name })
			if wanted && live.Policy == "-" && !s.Own.Has(t.Name, live.Name) {
				names = append(names, t.Name+" "+live.Name)
			}
		}
	}
	return names
}

// An NFTRulesError says that a table has rules of nft, so that iptables cannot print it and
// no change can be planned.
type NFTRulesError struct {
	Table  string
	Chains []string // that have the rules; none: not known
	Ours   []string // our chains in the table
}

func (e *NFTRulesError) Error() string {
	text := fmt.Sprintf("table %s has rules made by nft, which iptables cannot print", e.Table)
	if len(e.Chains) > 0 {
		text += ", in the chains " + strings.Join(e.Chains, ", ")
	}
	if len(e.Ours) > 0 {
		text = "cannot tell what is captured: " + text + "; chains of ours are in it too: " + strings.Join(e.Ours, ", ")
	}
	return text
}
