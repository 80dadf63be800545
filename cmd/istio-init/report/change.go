package report

import (
	"fmt"
	"net/netip"
	"strings"

	"istio-init/capture/pod"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Change is what an apply or a clean has changed, or with Plan or DryRun would change. Its
// fields are the keys of apply and clean --output json.
type Change struct {
	header
	Changed bool         `json:"changed" jsonschema:"something was changed; false if all was in order, and for a plan or a dry run"`
	DryRun  bool         `json:"dry_run,omitempty" jsonschema:"nothing was changed: --dry-run"`
	Plan    bool         `json:"plan,omitempty" jsonschema:"nothing was changed: --plan, so the changes are those that a run would make"`
	Skipped bool         `json:"skipped,omitempty" jsonschema:"no rule was changed: --skip-rule-apply"`
	Backend pod.Name     `json:"backend,omitempty" jsonschema:"who has the rules; of an apply that reads the network namespace"`
	Reason  string       `json:"reason,omitempty" jsonschema:"why that backend, for people"`
	Rules   []familySize `json:"families" jsonschema:"the address families that are captured, with their rules"`
	Steps   []step       `json:"changes" jsonschema:"what was changed, in this order"`
	// Text is what a plan or a dry run prints.
	Text       string      `json:"text,omitempty" jsonschema:"what --plan or --dry-run prints without --output json"`
	Validation *validation `json:"validation,omitempty" jsonschema:"the result of --run-validation; one that fails is an error document"`
	Warnings   []string    `json:"warnings,omitempty" jsonschema:"the warnings of the log, for people"`
}

type (
	familySize struct {
		Family inet.Family `json:"family" jsonschema:"the address family"`
		Tables int         `json:"tables" jsonschema:"how many tables of iptables have rules"`
		Rules  int         `json:"rules" jsonschema:"how many rules there are"`
	}
	// A step is one change.
	step struct {
		Kind    stepKind     `json:"kind" jsonschema:"what is changed"`
		Family  *inet.Family `json:"family,omitempty" jsonschema:"the address family"`
		Backend pod.Name     `json:"backend,omitempty" jsonschema:"who has the rules"`
		Added   int          `json:"added,omitempty" jsonschema:"rules that were added; one that moves is removed and added"`
		Removed int          `json:"removed,omitempty" jsonschema:"rules that were removed"`
		Mark    uint32       `json:"mark,omitempty" jsonschema:"the mark of a policy rule"`
		Table   uint32       `json:"table,omitempty" jsonschema:"the routing table"`
		Address *netip.Addr  `json:"address,omitempty" jsonschema:"the address on lo"`
		Tables  []string     `json:"tables,omitempty" jsonschema:"the tables of nftables, of the family inet"`
	}
	validation struct {
		Passed     int `json:"passed" jsonschema:"checks that have passed"`
		Differs    int `json:"differs" jsonschema:"checks that differ as Istio's own rules do"`
		NotChecked int `json:"not_checked" jsonschema:"checks that could not be made"`
	}
)

// A stepKind is the kind of a change.
type stepKind string

// The kinds of changes.
const (
	changeRules   stepKind = "change-rules"
	removeRules   stepKind = "remove-rules"
	addRouting    stepKind = "add-routing"
	removeRouting stepKind = "remove-routing"
	addAddress    stepKind = "add-address"
	removeAddress stepKind = "remove-address"
	removeNative  stepKind = "remove-native-tables"
)

// NewApplied returns the document of an apply, to which what it did is added.
func NewApplied() *Change {
	return &Change{header: newHeader(kindApply), Rules: []familySize{}, Steps: []step{}}
}

// NewCleaned returns the document of a clean, to which what it did is added.
func NewCleaned() *Change {
	return &Change{header: newHeader(kindClean), Rules: []familySize{}, Steps: []step{}}
}

// The methods of a nil *Change do nothing: nobody reads the document.

// Chosen says which backend has the rules that are wanted.
func (c *Change) Chosen(p *pod.Plan, want pod.Want) {
	if c == nil {
		return
	}
	c.Backend, c.Reason = p.Backend.Backend.Name(), p.Reason
	c.Wants(want.RulesFor(c.Backend))
}

// Wants says which rules are wanted.
func (c *Change) Wants(rules pod.Rules) {
	if c == nil {
		return
	}
	c.Rules = []familySize{}
	for _, rs := range rules {
		if len(rs.Tables) > 0 {
			c.Rules = append(c.Rules, familySize{rs.Family, len(rs.Tables), rs.Len()})
		}
	}
}

// Add adds the steps of a plan.
func (c *Change) Add(p *pod.Plan) {
	if c == nil {
		return
	}
	for _, s := range p.Steps {
		c.Steps = append(c.Steps, steps(s)...)
	}
}

// Validated says how the validation has ended.
func (c *Change) Validated(passed, differs, notChecked int) {
	if c != nil {
		c.Validation = &validation{passed, differs, notChecked}
	}
}

// steps returns a step of a plan: of rules, one for each family and backend; of policy
// routing, one for each policy rule and table.
func steps(s pod.Step) (all []step) {
	switch s := s.(type) {
	case *pod.ChangeRules:
		kind := changeRules
		if s.Remove {
			kind = removeRules
		}
		for _, c := range s.Change.Families {
			added, removed := counts(c)
			all = append(all, step{Kind: kind, Family: &c.Family, Backend: s.Have.Backend.Name(), Added: added, Removed: removed})
		}
	case *pod.AddRouting:
		all = append(all, step{Kind: addRouting, Family: &s.Family, Mark: s.Route.Mark, Table: s.Route.Table})
	case *pod.RemoveRouting:
		for _, r := range s.Rules {
			all = append(all, step{Kind: removeRouting, Family: &s.Family, Mark: r.Mark, Table: r.Table})
		}
		for _, table := range s.Tables {
			all = append(all, step{Kind: removeRouting, Family: &s.Family, Table: table})
		}
	case *pod.AddAddress:
		all = append(all, step{Kind: addAddress, Address: &s.Addr})
	case *pod.RemoveAddress:
		all = append(all, step{Kind: removeAddress, Address: &s.Addr})
	case *pod.RemoveNative:
		all = append(all, step{Kind: removeNative, Tables: s.Tables})
	}
	return all
}

// counts returns how many rules a change adds and removes.
func counts(c iptables.Change) (added, removed int) {
	for _, l := range c.Diff() {
		switch {
		case l.IsChain():
		case l.Op == iptables.Added:
			added++
		case l.Op == iptables.Removed:
			removed++
		}
	}
	return added, removed
}

func (c *Change) document() any { return c }

func (c *Change) text(Styler) string { return c.Text }

// A Difference is a difference of the namespace from what is wanted, besides rules of the
// backend.
type Difference struct {
	Kind    DifferenceKind `json:"kind" jsonschema:"what differs"`
	Family  *inet.Family   `json:"family,omitempty" jsonschema:"the address family"`
	Mark    uint32         `json:"mark,omitempty" jsonschema:"the mark of the policy rule"`
	Table   uint32         `json:"table,omitempty" jsonschema:"the routing table"`
	Address *netip.Addr    `json:"address,omitempty" jsonschema:"the address on lo"`
	Backend pod.Name       `json:"backend,omitempty" jsonschema:"the other backend"`
	Tables  []string       `json:"tables,omitempty" jsonschema:"the tables of nftables, of the family inet"`
}

// A DifferenceKind is the kind of a difference.
type DifferenceKind string

// The kinds of differences.
const (
	PolicyRuleMissing    DifferenceKind = "policy-rule-missing"
	PolicyRuleStale      DifferenceKind = "policy-rule-stale"
	PolicyRuleDuplicated DifferenceKind = "policy-rule-duplicated"
	RouteMissing         DifferenceKind = "route-missing"
	RouteStale           DifferenceKind = "route-stale"
	AddressMissing       DifferenceKind = "address-missing"
	AddressStale         DifferenceKind = "address-stale"
	OtherBackend         DifferenceKind = "other-backend" // it has rules of a mesh too
	NativeTables         DifferenceKind = "native-tables" // Istio's own
)

// String returns the difference for people.
func (d Difference) String() string {
	rule, route := fmt.Sprintf("the policy rule \"fwmark %#x lookup %d\"", d.Mark, d.Table), fmt.Sprintf("the route \"local default dev lo table %d\"", d.Table)
	if d.Family != nil {
		rule, route = d.Family.String()+": "+rule, d.Family.String()+": "+route
	}
	const undelivered = " is missing: packets of TPROXY are not delivered"
	switch d.Kind {
	case PolicyRuleMissing:
		return rule + undelivered
	case PolicyRuleStale:
		return rule + " is stale"
	case PolicyRuleDuplicated:
		return rule + " is duplicated"
	case RouteMissing:
		return route + undelivered
	case RouteStale:
		return route + " is stale"
	case AddressMissing:
		return d.Address.String() + "/128 is missing on lo: the proxy cannot connect to the app over IPv6"
	case AddressStale:
		return d.Address.String() + "/128 on lo is stale"
	case OtherBackend:
		return d.Backend.Title() + " has rules of a mesh too, and every packet passes both"
	case NativeTables:
	}
	return "tables of Istio's native nftables capture too: " + strings.Join(d.Tables, ", ")
}
