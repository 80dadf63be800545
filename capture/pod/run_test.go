package pod

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// adding returns steps that have added routing and the address, and write down what is
// taken back.
func adding(log *[]string) []Step {
	undo := func(name string) func() error {
		return func() error {
			*log = append(*log, "undo "+name)
			return nil
		}
	}
	return []Step{&AddRouting{undoOnce: undoOnce{undo("routing")}}, &AddAddress{undoOnce: undoOnce{undo("address")}}}
}

func TestUndoKeepsWhatRulesThatMayStayNeed(t *testing.T) {
	t.Parallel()
	const takenBack = "what the run had changed was taken back"
	refused, unread := errors.New("refused"), errors.New("unread")
	notReverted := errors.Join(refused, &xtables.RevertError{Err: unread})
	tests := []struct {
		name               string
		noCommit, noRevert error
		asked, log         []string
		takenBack          bool
	}{
		{"commit-takes-back", refused, nil, []string{"commit"}, []string{"undo address", "undo routing"}, true},
		{"undo-takes-back", notReverted, nil, []string{"commit", "revert"}, []string{"undo address", "undo routing"}, true},
		{"nothing-takes-back", notReverted, unread, []string{"commit", "revert"}, nil, false},
		{"later-step-fails", nil, unread, []string{"commit", "revert"}, []string{"undo last"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log []string
			m := &memory{name: NFT, noCommit: tt.noCommit, noRevert: tt.noRevert}
			rules := &ChangeRules{Have: m.Read(t.Context()), report: func(Event) {}}
			p := &Plan{Steps: append(adding(&log), rules)}
			cause := rules.Do(t.Context())
			if cause == nil {
				cause = refused
				p.Steps = append(p.Steps, &mark{"last", nil, &log})
			}
			err := p.undo(t.Context(), len(p.Steps)-1, cause)
			if !errors.Is(err, refused) || strings.Contains(err.Error(), takenBack) != tt.takenBack || errors.Is(err, errKept) == tt.takenBack {
				t.Errorf("the error is %v", err)
			}
			if diff := cmp.Diff([][]string{tt.asked, tt.log}, [][]string{m.asked, log}); diff != "" {
				t.Errorf("the steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPartialRunWhoseRulesStayOmitsOnlyTheNoteOnTheAddress(t *testing.T) {
	t.Parallel()
	for _, noCommit := range []error{nil, errors.New("refused")} {
		t.Run(fmt.Sprint(noCommit), func(t *testing.T) {
			t.Parallel()
			m := &memory{name: NFT, noCommit: noCommit}
			p := &Plan{Partial: true, Steps: []Step{&ChangeRules{Have: m.Read(t.Context()), report: func(Event) {}, Remove: true}}}
			p.note(NothingToRemove{Legacy})
			p.note(AddressStays{capture.Passthrough(inet.IPv6)})
			want := []string{"pod.NothingToRemove"}
			if noCommit == nil {
				want = append(want, "pod.AddressStays")
			}
			var got []string
			if err := p.Run(t.Context(), func(e Event) { got = append(got, fmt.Sprintf("%T", e)) }); !errors.Is(err, noCommit) {
				t.Errorf("the error is %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
		})
	}
}
