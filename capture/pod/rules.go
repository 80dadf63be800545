package pod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// ChangeRules changes the rules of a backend.
type ChangeRules struct {
	Have   State
	Want   Rules
	Change Change
	Remove bool // all of ours goes

	report  func(Event)
	changed bool // Undo has to put our rules back
}

// String returns the change in the language of the backend's program.
func (s *ChangeRules) String() string { return s.Change.Text }

// Do commits the change.
func (s *ChangeRules) Do(ctx context.Context) error {
	err := s.Have.Backend.Commit(ctx, s.Change)
	var stays *xtables.RevertError
	s.changed = err == nil || errors.As(err, &stays)
	if err != nil {
		return denied(err)
	}
	events := s.applied
	if s.Remove {
		events = s.removed
	}
	for _, event := range events() {
		s.report(event)
	}
	return nil
}

// Undo puts our rules back, also where a failed commit could not. After an error rules of
// the change may stay.
func (s *ChangeRules) Undo(ctx context.Context) error {
	if !s.changed {
		return nil
	}
	s.changed = false
	return s.Have.Backend.Revert(ctx, s.Change)
}

// applied tells what has become of each family.
func (s *ChangeRules) applied() []Event {
	var events []Event
	name := s.Have.Backend.Name()
	for _, f := range inet.Families {
		live, own := s.Have.Families[f].Rules, s.Have.Families[f].Own
		change, changes := s.Change.of(f)
		if changes {
			live, own = change.After, infer.Ownership(change.After)
		}
		for _, at := range iptables.Preempting(live, own) {
			events = append(events, RuleAhead{f, live.TextAt(at)})
		}
		switch {
		case changes:
			events = append(events, RulesApplied{name, s.Want[f], change})
		case len(s.Want[f].Tables) > 0:
			events = append(events, RulesInOrder{name, s.Want[f], live})
		}
	}
	return events
}

func (s *ChangeRules) removed() []Event {
	var events []Event
	for _, c := range s.Change.Families {
		events = append(events, RulesRemoved{s.Have.Backend.Name(), c})
	}
	return events
}

// denied adds to the error of a program that may not be started what denies it.
func denied(err error) error {
	if start, is := errors.AsType[*fs.PathError](err); is && errors.Is(start, fs.ErrPermission) {
		return fmt.Errorf("%w %s", err, netutil.NeedsNetAdmin(", and the right to start programs", start))
	}
	return err
}
