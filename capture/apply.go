package capture

import (
	"context"
	"errors"
	"slices"

	"istio-init/iptables"
)

// A Dataplane is where rules live. Plan reads, Commit writes once.
type Dataplane interface {
	Plan(ctx context.Context, want iptables.Checked) (iptables.Change, error)
	Commit(ctx context.Context, changes []iptables.Change) error
}

// Apply makes the rules of ours in the dataplane those that are wanted, and
// returns the changes it took: none when everything was in order, and then
// nothing was written. All is planned before anything is changed. A family that
// cannot be looked at is an error only where something is wanted of it, or of none.
func Apply(ctx context.Context, dp Dataplane, want ...iptables.Checked) ([]iptables.Change, error) {
	var changes []iptables.Change
	var errs []error
	capturing := slices.ContainsFunc(want, func(c iptables.Checked) bool { return len(c.Rules().Tables) > 0 })
	for _, c := range want {
		change, err := dp.Plan(ctx, c)
		if err != nil && (len(c.Rules().Tables) > 0 || !capturing) {
			errs = append(errs, err)
		}
		if change.Script != "" {
			changes = append(changes, change)
		}
	}
	if err := errors.Join(errs...); err != nil || len(changes) == 0 {
		return nil, err
	}
	return changes, dp.Commit(ctx, changes)
}

// Clean removes everything of ours from the dataplane.
func Clean(ctx context.Context, dp Dataplane) ([]iptables.Change, error) {
	var none []iptables.Checked
	for _, f := range iptables.Families {
		none = append(none, iptables.Nothing(f))
	}
	return Apply(ctx, dp, none...)
}
