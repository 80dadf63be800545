package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A Step is one change that can be taken back.
type Step interface {
	// String returns the step as text that iptables-restore loads: the input of a restore
	// program with a comment that names it, or comment lines in the syntax of ip(8) or
	// nft(8). It ends with a line break.
	String() string
	// Do makes the change.
	Do(ctx context.Context) error
	// Undo takes back what Do has changed, also where Do has failed half-way, and nothing
	// where it has changed nothing.
	Undo(ctx context.Context) error
}

// A Plan is all that a run would do, in its order.
type Plan struct {
	Steps []Step
	// Partial has a failed step leave the others as they are: what can be removed is
	// removed. Otherwise a failed step takes back those before it.
	Partial bool
	// Remains are what of ours the plan cannot remove. A run that is not partial does
	// nothing then.
	Remains []error

	Backend      State          // the chosen one, of a plan to apply
	Reason       string         // why it was chosen
	Unidentified []Unidentified // rules of it that count as different

	notes []note
}

// A note is an event that is reported when the steps before it are done.
type note struct {
	after int
	event Event
}

func (p *Plan) note(event Event) { p.notes = append(p.notes, note{len(p.Steps), event}) }

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Remains) == 0 }

// String returns the steps in their order. It loads with iptables-restore or
// ip6tables-restore where the plan is about one of both.
func (p *Plan) String() string {
	var b strings.Builder
	for _, s := range p.Steps {
		b.WriteString(s.String())
	}
	return b.String()
}

// Change returns what the plan does to the rules of a family in the chosen backend.
func (p *Plan) Change(f inet.Family) iptables.Change {
	for _, s := range p.Steps {
		if rules, ok := s.(*ChangeRules); ok && !rules.Remove {
			if c, changes := rules.Change.of(f); changes {
				return c
			}
		}
	}
	live := p.Backend.Families[f]
	return iptables.Change{Family: f, Before: live.Rules, After: live.Rules, Own: live.Own}
}

// Apply plans the change from what the namespace has to what is wanted. The order of the
// steps is that of the package's documentation.
func (e Engine) Apply(ctx context.Context, s *Survey, want Want) (*Plan, error) {
	if err := s.transient(); err != nil {
		return nil, err
	}
	if s.NeedsErr != nil {
		return nil, s.NeedsErr
	}
	if s.ambient() {
		return nil, infer.ErrAmbient
	}
	chosen, reason, err := choose(s.States, e.Force, want.Families)
	if err != nil {
		return nil, fmt.Errorf("choose the backend: %w", err)
	}
	p := &Plan{Reason: reason}
	rules := want.RulesFor(chosen.Backend.Name())
	if p.Backend, p.Unidentified, err = chosen.Backend.Identify(ctx, chosen, rules); err != nil {
		return nil, err
	}
	p.Steps = append(p.Steps, e.missing(s, want)...)
	if err := e.addRules(p, p.Backend, rules); err != nil {
		return nil, err
	}
	for _, beside := range s.Meshes() {
		p.note(beside)
	}
	for _, ahead := range s.RulesBeside(chosen, rules) {
		p.note(ahead)
	}
	for _, other := range s.States {
		if other.Backend == chosen.Backend || !other.Holds() {
			continue
		}
		p.note(OtherBackend{other.Backend.Name()})
		if err := e.removeRules(p, other); err != nil {
			return nil, err
		}
	}
	e.removeNeeds(p, s, want)
	e.removeNative(p, s)
	if len(s.Chains) > 0 {
		p.note(ForeignChains{s.Chains})
	}
	return p, nil
}

// Clean plans the removal of all that is ours, of every backend and family; with Force of that
// backend alone. What cannot be planned is an error, with the plan of what can.
func (e Engine) Clean(s *Survey) (*Plan, error) {
	p := &Plan{Partial: true}
	var errs []error
	stay := false // rules that stay need their routes
	for _, state := range s.States {
		if !e.cleans(state) {
			stay = stay || state.Holds()
			continue
		}
		errs = append(errs, e.removeRules(p, state))
		stay = stay || state.Unreadable() != nil
	}
	if e.Force == "" {
		e.removeNative(p, s)
	}
	switch {
	case stay:
	case s.NeedsErr != nil:
		errs = append(errs, s.NeedsErr)
	default:
		e.removeNeeds(p, s, Nothing())
		if s.Address.Present && !s.Address.Ours {
			p.note(AddressStays{capture.Passthrough(inet.IPv6)})
		}
	}
	return p, errors.Join(errs...)
}

// cleans reports whether Clean removes the rules of a backend.
func (e Engine) cleans(state State) bool { return e.Force == "" || state.Backend.Name() == e.Force }

// Missing returns the steps that add what wanted rules need besides themselves.
func (s *Survey) Missing(want Want) []Step { return Engine{Report: func(Event) {}}.missing(s, want) }

func (e Engine) missing(s *Survey, want Want) []Step {
	var steps []Step
	for _, f := range inet.Families {
		route, have := want.Routes[f], s.Routing[f]
		if route == (netutil.TProxyRoute{}) {
			continue
		}
		add := &AddRouting{
			Family: f, Route: route, report: e.Report,
			NoRule: !slices.Contains(have.Rules, route), NoRoute: !slices.Contains(have.Tables, route.Table),
		}
		if add.NoRule || add.NoRoute {
			steps = append(steps, add)
		}
	}
	if want.Passthrough && !s.Address.Present {
		steps = append(steps, &AddAddress{Addr: capture.Passthrough(inet.IPv6), report: e.Report})
	}
	return steps
}

// removeNeeds plans the removal of what no rule needs any more, of whatever backend. Rules
// that cannot be read may need it.
func (e Engine) removeNeeds(p *Plan, s *Survey, want Want) {
	for _, f := range inet.Families {
		if s.hides(f) {
			continue
		}
		remove := &RemoveRouting{Family: f, Keep: want.Routes[f], report: e.Report}
		remove.Rules, remove.Tables = stale(s.Routing[f], remove.Keep)
		if len(remove.Rules)+len(remove.Tables) > 0 {
			p.Steps = append(p.Steps, remove)
		}
	}
	if !want.Passthrough && s.Address.Ours && !s.hides(inet.IPv6) {
		p.Steps = append(p.Steps, &RemoveAddress{Addr: capture.Passthrough(inet.IPv6), report: e.Report})
	}
}

// addRules plans the wanted rules of the chosen backend.
func (e Engine) addRules(p *Plan, have State, want Rules) error {
	change, err := have.Backend.Plan(have, want)
	if err != nil {
		return err
	}
	step := &ChangeRules{Have: have, Want: want, Change: change, report: e.Report}
	if !change.Empty() {
		p.Steps = append(p.Steps, step)
		return nil
	}
	for _, event := range step.applied() {
		p.note(event)
	}
	return nil
}

// removeRules plans the removal of our rules from a backend.
func (e Engine) removeRules(p *Plan, have State) error {
	change, err := have.Backend.Plan(have, NoRules())
	if err != nil {
		return err
	}
	remains := remaining(have, change)
	p.Remains = append(p.Remains, remains...)
	switch {
	case !change.Empty():
		p.Steps = append(p.Steps, &ChangeRules{Have: have, Want: NoRules(), Change: change, Remove: true, report: e.Report})
	case len(remains) == 0 && have.Backend.Name() != NFTables: // which hardly any pod has
		p.note(NothingToRemove{have.Backend.Name()})
	}
	return nil
}

// removeNative plans the removal of Istio's own tables of nf_tables.
func (e Engine) removeNative(p *Plan, s *Survey) {
	if len(s.Native) > 0 {
		p.Steps = append(p.Steps, &RemoveNative{Tables: s.Native, report: e.Report})
	}
}

// stale returns what of the policy routing is neither the route to keep nor its first rule.
func stale(have netutil.Routing, keep netutil.TProxyRoute) (rules []netutil.TProxyRoute, tables []uint32) {
	kept := false
	for _, rule := range have.Rules {
		if rule == keep && !kept {
			kept = true
			continue
		}
		rules = append(rules, rule)
	}
	for _, table := range have.Tables {
		if table != keep.Table {
			tables = append(tables, table)
		}
	}
	return rules, tables
}
