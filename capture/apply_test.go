package capture

import (
	"context"
	"errors"
	"slices"
	"testing"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// plane is a dataplane of one variant in which some families cannot be looked at.
type plane struct {
	blind     []inet.Family
	committed []iptables.Change
}

var errBlind = errors.New("cannot be looked at")

func (p *plane) Plan(want iptables.Ruleset) (iptables.Change, error) {
	if slices.Contains(p.blind, want.Family) {
		return iptables.Change{Family: want.Family}, errBlind
	}
	have := iptables.Snapshot{Family: want.Family}
	return iptables.Plan(have, want), nil
}

func (p *plane) Commit(_ context.Context, changes []iptables.Change) error {
	p.committed = append(p.committed, changes...)
	return nil
}

func TestAFamilyThatCannotBeSeenMattersOnlyWhereItIsWanted(t *testing.T) {
	t.Parallel()
	v4 := iptables.Ruleset{Tables: []iptables.Table{dropTable()}}
	v6 := iptables.Ruleset{Family: inet.IPv6, Tables: v4.Tables}
	none := iptables.Ruleset{Family: inet.IPv6}
	tests := []struct {
		name      string
		blind     []inet.Family
		want      []iptables.Ruleset
		committed int
		err       error
	}{
		{"both-seen", nil, []iptables.Ruleset{v4, v6}, 2, nil},
		{"one-wanted", []inet.Family{inet.IPv6}, []iptables.Ruleset{v4, none}, 1, nil},
		{"blind-and-wanted", []inet.Family{inet.IPv6}, []iptables.Ruleset{v4, v6}, 0, errBlind},
		{"nothing-wanted", []inet.Family{inet.IPv6}, []iptables.Ruleset{{}, none}, 0, errBlind},
		{"nothing-to-do", nil, []iptables.Ruleset{{}, none}, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &plane{blind: tt.blind}
			changes, err := Apply(t.Context(), p, tt.want...)
			if !errors.Is(err, tt.err) {
				t.Errorf("want error %v, got %v", tt.err, err)
			}
			if len(p.committed) != tt.committed || err == nil && len(changes) != tt.committed {
				t.Errorf("want %d families changed, got %d, and %d were returned", tt.committed, len(p.committed), len(changes))
			}
		})
	}
}

// dropTable is a table of ours.
func dropTable() iptables.Table {
	return mangleTable(Config{DropInvalid: true}, inet.IPv4)
}
