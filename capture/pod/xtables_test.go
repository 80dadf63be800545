package pod

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// TestPlanUsesTheGivenStateAlone plans from a state made by hand. The backend has no
// programs: to start one would be a nil dereference.
func TestPlanUsesTheGivenStateAlone(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			x := &variant{variant: v}
			have := liveState(t, x, [2]string{oursSave, emptySave})
			want := Wanted(testConfig, inet.Families[:])
			change, err := x.Plan(have, want.Rules())
			if err != nil {
				t.Fatal(err)
			}
			again, err := x.Plan(have, want.Rules())
			if err != nil || !reflect.DeepEqual(change, again) {
				t.Errorf("planned twice, %v (-first +second):\n%s", err, cmp.Diff(change.Text, again.Text))
			}
			for i, f := range inet.Families {
				if got := change.Families[i]; got.Family != f || xtables.Script(got) != xtables.Script(iptables.Plan(have.Families[f].Rules, have.Families[f].Own, want.Rules()[f])) {
					t.Errorf("%s: planned\n%s", f, xtables.Script(got))
				}
			}
			have = after(x, change)
			if rest, err := x.Plan(have, want.Rules()); err != nil || !rest.Empty() {
				t.Errorf("planned from the planned state: %s%v", rest.Text, err)
			}
			if removal, err := x.Plan(have, NoRules()); err != nil || !strings.Contains(removal.Text, "\n-X ISTIO_INBOUND\n") {
				t.Errorf("planned to remove: %s%v", removal.Text, err)
			}
		})
	}
}

// TestPlanUsesTheAnswersOfIdentify plans with a rule that has no type and is known to be
// the wanted one.
func TestPlanUsesTheAnswersOfIdentify(t *testing.T) {
	t.Parallel()
	x := &variant{variant: xtables.NFT}
	want := Wanted(testConfig, inet.Families[:1])
	have := liveState(t, x, [2]string{})
	change, err := x.Plan(have, want.Rules())
	if err != nil {
		t.Fatal(err)
	}
	have = after(x, change)
	text := strings.Replace(have.Families[inet.IPv4].Rules.String(), "--to-ports", "--to-port-number", 1)
	have = liveState(t, x, [2]string{text})
	if change, err = x.Plan(have, want.Rules()); err != nil || change.Empty() {
		t.Fatalf("want a change of the unreadable rule, got %q, %v", change.Text, err)
	}
	live := &have.Families[inet.IPv4]
	same := map[iptables.Place]iptables.Rule{}
	for _, r := range live.Rules.UnreadableRules(live.Own, want.Rules()[inet.IPv4]) {
		same[r.Place] = r.Wanted.Rule
	}
	live.Rules = live.Rules.Identified(same)
	if change, err = x.Plan(have, want.Rules()); err != nil || !change.Empty() {
		t.Errorf("want no change after the answer, got %q, %v", change.Text, err)
	}
}

// liveState returns a state from texts of iptables-save.
func liveState(t *testing.T, b Backend, saves [2]string) State {
	t.Helper()
	s := State{Backend: b}
	for _, f := range inet.Families {
		rules, err := iptables.ParseSnapshot(f, saves[f])
		if err != nil {
			t.Fatal(err)
		}
		s.Families[f] = FamilyState{Present: saves[f] != "", Rules: rules, Own: infer.Ownership(rules)}
	}
	return s
}

// after returns the state after a change.
func after(b Backend, change Change) State {
	s := State{Backend: b}
	for _, c := range change.Families {
		s.Families[c.Family] = FamilyState{Present: true, Rules: c.After, Own: infer.Ownership(c.After)}
	}
	return s
}
