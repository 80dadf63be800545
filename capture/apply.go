package capture

import (
	"context"
	"errors"
	"slices"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Dataplane is where rules live. Plan changes nothing, Commit writes once.
type Dataplane interface {
	Plan(want iptables.Ruleset) (iptables.Change, error)
	Commit(ctx context.Context, changes []iptables.Change) error
}

// Apply makes the rules of ours in the dataplane those that are wanted, and
// returns the changes it took: none when everything was in order, and then
// nothing was written. All is planned before anything is changed. A family that
// cannot be looked at is an error only where something is wanted of it, or of none.
func Apply(ctx context.Context, dp Dataplane, want ...iptables.Ruleset) ([]iptables.Change, error) {
	var changes []iptables.Change
	var errs []error
	capturing := slices.ContainsFunc(want, func(rs iptables.Ruleset) bool { return len(rs.Tables) > 0 })
	for _, rs := range want {
		change, err := dp.Plan(rs)
		if err != nil && (len(rs.Tables) > 0 || !capturing) {
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
	var none []iptables.Ruleset
	for _, f := range inet.Families {
		none = append(none, iptables.Ruleset{Family: f})
	}
	return Apply(ctx, dp, none...)
}
