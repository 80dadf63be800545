package iptables

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLongListsOfGroupsAreMerged(t *testing.T) {
	t.Parallel()
	var short, odd, all []IDRange
	for id := range uint32(MaxGroupRules + 1) {
		all = append(all, ID(MaxGroupRules-id))
		odd = append(odd, ID(2*id))
	}
	short = all[1:]
	for _, tt := range []struct {
		name       string
		list, want []IDRange
		tree       bool
	}{
		{"short", short, short, false},
		{"one-range", slices.Concat(all, []IDRange{{MaxID, MaxID}, {3, 7}}), []IDRange{{0, MaxGroupRules}, {MaxID, MaxID}}, false},
		{"everybody", slices.Concat(all, []IDRange{{0, MaxID}}), []IDRange{{0, MaxID}}, false},
		{"tree", odd, odd, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, tree := LowerGroups(tt.list)
			if diff := cmp.Diff(tt.want, got); diff != "" || tree != tt.tree {
				t.Errorf("tree %t, want %t (-want +got):\n%s", tree, tt.tree, diff)
			}
		})
	}
}
