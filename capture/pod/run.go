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

// undo takes back the steps up to the one that failed.
func (p *Plan) undo(ctx context.Context, failed int, cause error) error {
	var errs []error
	for i := failed; i >= 0; i-- {
		if err := p.Steps[i].Undo(ctx); err != nil {
			errs = append(errs, fmt.Errorf("undo: %w", err))
		}
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
			_, rules := s.(*ChangeRules)
			rulesStay = rulesStay || rules
		}
	}
	if !rulesStay {
		p.reportNotes(len(p.Steps), report)
	}
	return errors.Join(append(errs, p.Remains...)...)
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
