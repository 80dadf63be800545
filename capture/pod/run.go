package pod

import (
	"context"
	"errors"
	"fmt"
)

// Run makes the steps in their order. A step that fails takes back those before it, the
// last one first; see [Plan.Partial] for a plan that goes on instead.
func (p *Plan) Run(ctx context.Context, report func(Event)) error {
	if p.Partial {
		return p.runPartial(ctx, report)
	}
	if err := errors.Join(p.Remains...); err != nil {
		return err
	}
	for i, s := range p.Steps {
		p.reportNotes(i, report)
		if err := s.Do(ctx); err != nil {
			return p.undo(ctx, i, err)
		}
	}
	p.reportNotes(len(p.Steps), report)
	return nil
}

var errKept = errors.New("policy routing and addresses that were added stay: rules may still need them")

// undo takes back the steps up to the one that failed. Rules that may stay keep the routes
// and the passthrough address that were added for them.
func (p *Plan) undo(ctx context.Context, failed int, cause error) error {
	var errs []error
	rulesStay, kept := false, false
	for i := failed; i >= 0; i-- {
		s := p.Steps[i]
		if rulesStay && addedForRules(s) {
			kept = true
			continue
		}
		if err := s.Undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
			rulesStay = rulesStay || changesRules(s)
		}
	}
	if kept {
		errs = append(errs, errKept)
	}
	switch {
	case len(errs) > 0:
		return errors.Join(cause, errors.Join(errs...))
	case failed == 0:
		return cause
	}
	return fmt.Errorf("%w; what the run had changed was taken back", cause)
}

// runPartial makes the steps that can be made. Rules that stay need their routes and the
// passthrough address.
func (p *Plan) runPartial(ctx context.Context, report func(Event)) error {
	var errs []error
	rulesStay := false
	for i, s := range p.Steps {
		p.reportNotes(i, report)
		if rulesStay && neededByRules(s) {
			continue
		}
		if err := s.Do(ctx); err != nil {
			errs = append(errs, err)
			rulesStay = rulesStay || changesRules(s)
		}
	}
	p.reportNotes(len(p.Steps), func(event Event) {
		if _, address := event.(AddressStays); !address || !rulesStay {
			report(event)
		}
	})
	return errors.Join(append(errs, p.Remains...)...)
}

func changesRules(s Step) bool {
	_, rules := s.(*ChangeRules)
	return rules
}

// addedForRules reports whether a step adds what rules need.
func addedForRules(s Step) bool {
	switch s.(type) {
	case *AddRouting, *AddAddress:
		return true
	}
	return false
}

// neededByRules reports whether a step removes what rules need.
func neededByRules(s Step) bool {
	switch s.(type) {
	case *RemoveRouting, *RemoveAddress:
		return true
	}
	return false
}

func (p *Plan) reportNotes(after int, report func(Event)) {
	for _, n := range p.notes {
		if n.after == after {
			report(n.event)
		}
	}
}
