package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// attempts is how often a change is planned at most, while others change rules.
const attempts = 5

// A ContendedError says that others have changed rules between look and change, in every
// attempt.
type ContendedError struct {
	Err  error
	By   []string // the programs that changed nf_tables; none: they are not known
	text string   // of Err
}

// contended returns the error of the last attempt. No module of the kernel is missing, so it
// names none.
func contended(err error, refusal *xtables.RestoreError, by []string) *ContendedError {
	if refusal == nil {
		return &ContendedError{nil, by, "the rules may differ from the wanted ones"}
	}
	named := refusal.Error()
	refusal.Needs = nil
	return &ContendedError{err, by, strings.ReplaceAll(err.Error(), named, refusal.Error())}
}

func (e *ContendedError) Error() string {
	who := "other programs"
	if len(e.By) > 0 {
		who += " (" + strings.Join(e.By, ", ") + ")"
	}
	return fmt.Sprintf("%s changed the rules between look and change, %d times in a row: %s", who, attempts, e.text)
}

// Unwrap returns why the last attempt has failed.
func (e *ContendedError) Unwrap() error { return e.Err }

// settle calls change with what the namespace has. It looks again and calls change again
// where others have changed rules since the look: after a refusal, if what is there differs,
// and after a success, to find out what has become of our rules.
func (e Engine) settle(ctx context.Context, lock *os.File, change func(context.Context, *Survey) error) error {
	found, err := e.survey(ctx, lock)
	if err != nil {
		return err
	}
	defer func() { found.Close() }()
	first, ordered := found, false
	var writers *netutil.NFTWriters
	defer func() { writers.Close() }()
	for n := 1; ; n++ {
		err := change(ctx, found)
		refusal := refused(err)
		// Others may have changed rules since the look.
		changed := refusal != nil || errors.Is(err, errStale) || err == nil && found.disturbed()
		if ctx.Err() != nil || !changed {
			return err
		}
		now, lookErr := e.survey(ctx, lock)
		if lookErr != nil {
			return errors.Join(err, fmt.Errorf("look at what others have changed: %w", lookErr))
		}
		same := !found.disturbed() && slices.EqualFunc(found.States, now.States, State.sameRules)
		found.Close()
		found = now
		switch {
		case refusal != nil && same:
			return err
		case n == attempts:
			return contended(err, refusal, writers.Names(found.programs()))
		case err == nil && !ordered:
			ordered = found.keepOrder(first)
		}
		if n == 1 {
			writers, _ = netutil.WatchNFTWriters() // without it they have no names
		}
		e.Report(ChangedByOthers{})
	}
}

// refused returns the refusal of a change that left the rules as they were; nil for another
// error.
func refused(err error) *xtables.RestoreError {
	refusal, is := errors.AsType[*xtables.RestoreError](err)
	if _, stays := errors.AsType[*xtables.RevertError](err); !is || !refusal.Refused() || stays {
		return nil
	}
	return refusal
}

// disturbed reports whether others are known to have changed rules before ours were written.
func (s *Survey) disturbed() bool {
	return slices.ContainsFunc(s.States, func(state State) bool {
		x, is := state.Backend.(*variant)
		return is && x.disturbed
	})
}

// programs returns the names of the programs that change rules for us.
func (s *Survey) programs() []string {
	var names []string
	for _, state := range s.States {
		if x, is := state.Backend.(*variant); is {
			names = append(names, x.Programs()...)
		}
	}
	return names
}

// keepOrder has plans put our jumps ahead of the foreign rules that they were ahead of in an
// earlier survey. It reports whether one has to move.
func (s *Survey) keepOrder(earlier *Survey) bool {
	moves := false
	for i := range s.States {
		for f := range inet.Families {
			before, now := earlier.States[i].Families[f], &s.States[i].Families[f]
			now.Own.Ahead = now.Own.Displaced(now.Rules, before.Rules, before.Own)
			moves = moves || len(now.Own.Ahead) > 0
		}
	}
	return moves
}

// sameRules reports whether both states have the same rules; empty tables do not count.
func (s State) sameRules(other State) bool {
	for f := range inet.Families {
		if used(s.Families[f].Rules) != used(other.Families[f].Rules) {
			return false
		}
	}
	return true
}

// used returns the text of tables that hold something.
func used(s iptables.Snapshot) string {
	s.Tables = slices.DeleteFunc(slices.Clone(s.Tables), iptables.LiveTable.Empty)
	return s.String()
}
