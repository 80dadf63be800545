package iptables

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checked are rules as they are planned with.
func checked(t *testing.T, rs Ruleset) Checked {
	t.Helper()
	c, err := rs.Check()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRulesThatAreNotValidCannotBePlannedWith(t *testing.T) {
	t.Parallel()
	bad := Ruleset{Family: IPv6, Tables: []Table{wantOurs.Tables[0], {Name: "no such table"}}}
	c, err := bad.Check()
	if err == nil || err.Error() != bad.Validate().Error() {
		t.Errorf("want the error of Validate, got %v", err)
	}
	change, err := seen(t, NFT, "", "").Plan(t.Context(), c)
	if err != nil || change.Script != "" || change.Family != IPv6 {
		t.Errorf("want that nothing is wanted of IPv6, got %+v, %v", change, err)
	}
}

func TestRulesAreCheckedWithTheirText(t *testing.T) {
	t.Parallel()
	change, err := seen(t, NFT, "", "").Plan(t.Context(), checked(t, wantOurs))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantOurs.String(), change.After.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
