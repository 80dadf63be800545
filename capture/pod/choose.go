package pod

import (
	"errors"
	"fmt"
	"slices"

	"istio-init/netutil/inet"
)

// ErrNoBackend says that no backend can be used.
var ErrNoBackend = errors.New("no backend is usable")

// choose returns the backend to work with, and why: the one that has rules of ours, else
// the one that has rules, else the first that is ready, else one that iptables may load.
// force overrides; "" does not. Both families go together. need are those that have rules;
// the programs for the others may be missing.
func choose(states []State, force Name, need []inet.Family) (chosen State, reason string, err error) {
	for _, s := range states {
		if err := s.hidesOurs(); err != nil { // else the pod would have our rules twice
			return s, "", err
		}
	}
	if force != "" {
		i := slices.IndexFunc(states, func(s State) bool { return s.Backend.Name() == force })
		if i < 0 {
			return chosen, "", fmt.Errorf("bug: there is no backend %q", force)
		}
		return states[i], "forced", states[i].usable(need)
	}
	for _, s := range states {
		if s.Holds() {
			return s, "it holds rules of ours", s.usable(need)
		}
	}
	for _, s := range states {
		if s.HoldsRules() && s.usable(need) == nil {
			return s, "it holds rules", nil
		}
	}
	var errs []error
	for _, s := range states {
		switch err := s.ready(need); {
		case err != nil:
			errs = append(errs, err)
		case s.Backend.Name() == NFTables:
			return s, fmt.Sprintf("no variant of iptables is usable: %v", joinLine(errs)), nil
		case len(errs) > 0:
			return s, fmt.Sprintf("iptables-nft is not usable: %v", joinLine(errs)), nil
		default:
			return s, "usable, and no backend holds rules", nil
		}
	}
	for _, s := range states {
		if s.usable(need) == nil {
			return s, fmt.Sprintf("no backend is ready, and iptables may load this one: %v", joinLine(errs)), nil
		}
	}
	return chosen, "", fmt.Errorf("%w: %w", ErrNoBackend, joinLine(errs))
}
