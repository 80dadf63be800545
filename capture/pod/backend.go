package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/nftables"
)

// Rules are the wanted rules of both families. A family without tables has none.
type Rules inet.PerFamily[iptables.Ruleset]

// NoRules are the rules of a pod of which nothing is captured.
func NoRules() Rules {
	var none Rules
	for _, f := range inet.Families {
		none[f].Family = f
	}
	return none
}

// captured returns the families that have rules.
func (r Rules) captured() []inet.Family {
	return slices.DeleteFunc(slices.Clone(inet.Families[:]), func(f inet.Family) bool { return len(r[f].Tables) == 0 })
}

// A Name names a backend.
type Name string

// The backends, in the order of preference.
const (
	NFT    Name = "nft"    // xtables rules in nf_tables
	Legacy Name = "legacy" // the older xtables
	// NFTables is rules of nf_tables itself, in tables of their own.
	NFTables Name = "nftables"
)

// Title names the backend in messages.
func (n Name) Title() string {
	if n == NFTables {
		return "native nftables"
	}
	return "iptables-" + string(n)
}

// A Backend is a way to rules in the kernel.
type Backend interface {
	Name() Name
	// Read reads the rules of both families. It changes nothing. What cannot be read is an
	// error of its family alone.
	Read(ctx context.Context) State
	// Identify asks about live rules that have no type and may be wanted ones. It changes
	// nothing. The state that it returns has the answers, for Plan.
	Identify(ctx context.Context, have State, want Rules) (State, []Unidentified, error)
	// Plan returns the change that makes our rules the wanted ones. It is pure. A family
	// that cannot be changed is an error where rules are wanted for it, or for none.
	Plan(have State, want Rules) (Change, error)
	// Commit makes a change, or leaves the rules as they were. An [xtables.RevertError] says
	// that it has done neither.
	Commit(ctx context.Context, c Change) error
	// Revert restores the own rules from before a change, also after ctx has ended. It
	// reads again: what others have changed meanwhile stays.
	Revert(ctx context.Context, c Change) error
	// Close closes the files of the backend, which can start no program after that.
	Close()
}

// A State is the live rules of a backend.
type State struct {
	Backend  Backend
	Families inet.PerFamily[FamilyState]

	notLoaded inet.PerFamily[error] // why another backend is chosen rather, though it may work
}

// A FamilyState is the live rules of one family.
type FamilyState struct {
	Present   bool               // it has tables
	Rules     iptables.Snapshot  // empty where Err is set
	Own       iptables.Ownership // what of them is ours
	Err       error              // why it cannot be read or changed
	Transient error              // Err, where the next attempt may succeed: a program was killed
	// Unprinted is what is known of the tables in Rules.Unreadable. Where chains of ours are
	// in one, Err is set.
	Unprinted []*xtables.NFTRulesError
}

// Holds reports whether the backend has rules of ours.
func (s State) Holds() bool {
	return s.any(func(f FamilyState) bool { return !f.Own.Empty() })
}

// hidesOurs returns why chains of ours cannot be read; nil where none are known that cannot.
func (s State) hidesOurs() error {
	for _, f := range inet.Families {
		if _, ok := errors.AsType[*xtables.NFTRulesError](s.Families[f].Err); ok {
			return s.familyErr(f)
		}
	}
	return nil
}

// Ambient reports whether the backend has rules of Istio's ambient mode.
func (s State) Ambient() bool {
	return s.any(func(f FamilyState) bool { return infer.Ambient(f.Rules) })
}

// HoldsRules reports whether the backend has any rule.
func (s State) HoldsRules() bool {
	return s.any(func(f FamilyState) bool { return f.Rules.Rules() > 0 })
}

func (s State) any(holds func(FamilyState) bool) bool {
	return slices.ContainsFunc(s.Families[:], holds)
}

// Hides reports whether a family has tables that cannot be read.
func (s State) Hides(f inet.Family) bool { return s.Families[f].Present && s.Families[f].Err != nil }

// Unreadable returns why tables cannot be read; nil where all can.
func (s State) Unreadable() error {
	var errs []error
	for _, f := range inet.Families {
		if s.Hides(f) {
			errs = append(errs, s.familyErr(f))
		}
	}
	return errors.Join(errs...)
}

// transient returns the transient errors on one line; nil for none.
func (s State) transient() error {
	var errs []error
	for _, f := range s.Families {
		errs = append(errs, f.Transient)
	}
	return joinLine(errs)
}

// usable returns why some of the families cannot be changed; nil where all can.
func (s State) usable(need []inet.Family) error {
	var errs []error
	for _, f := range need {
		errs = append(errs, s.familyErr(f))
	}
	return joinLine(errs)
}

// ready returns why some of the families cannot be changed, or may not; nil where all can.
func (s State) ready(need []inet.Family) error {
	var errs []error
	for _, f := range need {
		err := s.familyErr(f)
		if err == nil {
			err = s.named(f, s.notLoaded[f])
		}
		errs = append(errs, err)
	}
	return joinLine(errs)
}

func (s State) familyErr(f inet.Family) error { return s.named(f, s.Families[f].Err) }

// named adds to an error whose it is.
func (s State) named(f inet.Family, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", f, s.Backend.Name(), err)
}

// An Unidentified rule is live, has no type, and counts as different from the wanted one.
type Unidentified struct {
	Family inet.Family
	Rule   iptables.UnreadableRule
}

// A Change is what a backend has to do for both families. The zero Change is none.
type Change struct {
	Families []iptables.Change // of the families that change
	Text     string            // what is done, in the language of the backend's program

	native []nftables.Change // of the families, for the backend NFTables
}

// Empty reports whether there is nothing to do.
func (c Change) Empty() bool { return len(c.Families) == 0 }

// of returns the change of a family.
func (c Change) of(f inet.Family) (iptables.Change, bool) {
	i := slices.IndexFunc(c.Families, func(c iptables.Change) bool { return c.Family == f })
	if i < 0 {
		return iptables.Change{}, false
	}
	return c.Families[i], true
}

// joinLine joins errors on one line; nil for none.
func joinLine(errs []error) error {
	var joined error
	for _, err := range errs {
		switch {
		case err == nil:
		case joined == nil:
			joined = err
		default:
			joined = fmt.Errorf("%w; %w", joined, err)
		}
	}
	return joined
}
