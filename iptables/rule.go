package iptables

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The tables that the rules use, by their kernel names.
const (
	Raw    = "raw"
	Mangle = "mangle"
	NAT    = "nat"
	Filter = "filter"
)

// OwnPrefix starts the name of every chain that is ours.
const OwnPrefix = "ISTIO_"

// The built-in chains where the rules hook in.
const (
	Prerouting = "PREROUTING"
	Output     = "OUTPUT"
)

// builtins are the built-in chains of each table, in the order in which
// iptables-save prints them; tables stand in the order in which one hook calls
// them (net/netfilter: raw -300, mangle -150, nat -100, filter 0, security 50).
var builtins = []struct {
	table  string
	chains []string
}{
	{Raw, []string{Prerouting, Output}},
	{Mangle, []string{Prerouting, "INPUT", "FORWARD", Output, "POSTROUTING"}},
	{NAT, []string{Prerouting, "INPUT", Output, "POSTROUTING"}},
	{Filter, []string{"INPUT", "FORWARD", Output}},
	{"security", []string{"INPUT", "FORWARD", Output}},
}

// builtinChains returns the built-in chains of a table; none for a table that
// the kernel does not have.
func builtinChains(table string) []string {
	for _, b := range builtins {
		if b.table == table {
			return b.chains
		}
	}
	return nil
}

// Own tells whether a chain of that name is ours.
func Own(chain string) bool { return strings.HasPrefix(chain, OwnPrefix) }

// A Rule is a match and what becomes of the packets that meet it.
type Rule struct {
	Match
	Target Target
}

// Text returns the rule as iptables-save prints it after "-A CHAIN ".
func (r Rule) Text(f Family) string {
	var w words
	r.Match.text(&w)
	if r.Target != nil {
		r.Target.text(&w, f)
	}
	return w.b.String()
}

// A Chain is a list of rules, tried in their order.
type Chain struct {
	Name  string
	Rules []Rule
}

// A Table is a set of chains; their order means nothing.
type Table struct {
	Name   string
	Chains []Chain
}

// A Ruleset is everything we want in the kernel for one family. The zero
// Ruleset wants nothing of ours in IPv4.
type Ruleset struct {
	Family Family
	Tables []Table
}

// String returns what iptables-save prints once the rules are applied to an
// empty namespace, without its comments; "" for no rules.
func (rs Ruleset) String() string {
	return Snapshot{Family: rs.Family}.With(rs).String()
}

// Len returns how many rules there are.
func (rs Ruleset) Len() int {
	n := 0
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			n += len(c.Rules)
		}
	}
	return n
}

// table returns the table of that name; the zero Table when it is not there.
func (rs Ruleset) table(name string) Table {
	if i := slices.IndexFunc(rs.Tables, func(t Table) bool { return t.Name == name }); i >= 0 {
		return rs.Tables[i]
	}
	return Table{Name: name}
}

// chain returns the rules of a chain.
func (t Table) chain(name string) []Rule {
	if i := slices.IndexFunc(t.Chains, func(c Chain) bool { return c.Name == name }); i >= 0 {
		return t.Chains[i].Rules
	}
	return nil
}

// maxChainName is the longest name of a chain
// (linux/netfilter/x_tables.h, XT_EXTENSION_MAXNAMELEN less the zero).
const maxChainName = 28

// Validate tells what the kernel, or the law that everything ours is in our
// chains, would refuse. A nil error means that a refusal can only come from what
// the kernel lacks. All problems are reported, joined.
func (rs Ruleset) Validate() error {
	var errs []error
	for _, t := range rs.Tables {
		errs = append(errs, t.validate(rs.Family))
	}
	return errors.Join(errs...)
}

func (t Table) validate(f Family) error {
	if builtinChains(t.Name) == nil {
		return fmt.Errorf("table %q: no such table", t.Name)
	}
	var errs []error
	seen := map[string]bool{}
	for _, c := range t.Chains {
		builtin := slices.Contains(builtinChains(t.Name), c.Name)
		switch {
		case seen[c.Name]:
			errs = append(errs, fmt.Errorf("table %s: chain %s is there twice", t.Name, c.Name))
		case !builtin && !Own(c.Name):
			errs = append(errs, fmt.Errorf("table %s: chain %q is neither built in nor ours (%s...)", t.Name, c.Name, OwnPrefix))
		case len(c.Name) > maxChainName:
			errs = append(errs, fmt.Errorf("table %s: chain %s: name longer than %d bytes", t.Name, c.Name, maxChainName))
		}
		seen[c.Name] = true
		for i, r := range c.Rules {
			if err := t.validateRule(f, builtin, r); err != nil {
				errs = append(errs, fmt.Errorf("table %s: chain %s: rule %d %q: %w", t.Name, c.Name, i+1, r.Text(f), err))
			}
		}
	}
	if loop := t.loop(); loop != "" {
		errs = append(errs, fmt.Errorf("table %s: chain %s leads back to itself", t.Name, loop))
	}
	return errors.Join(errs...)
}

func (t Table) validateRule(f Family, builtin bool, r Rule) error {
	jump, isJump := r.Target.(Jump)
	switch {
	case r.Target == nil:
		return errors.New("has no target")
	case builtin && !isJump:
		return errors.New("a built-in chain may only hold jumps to our chains")
	case isJump && (!Own(jump.Chain) || !slices.ContainsFunc(t.Chains, func(c Chain) bool { return c.Name == jump.Chain })):
		return fmt.Errorf("jumps to %q, which is no chain of ours in the table", jump.Chain)
	case !r.Target.legalIn(t.Name):
		return errors.New("the target is not allowed in the table")
	}
	if _, redirect := r.Target.(Redirect); redirect && r.Proto != TCP && r.Proto != UDP {
		return errors.New("REDIRECT needs -p tcp or -p udp")
	}
	return r.validate(f)
}

// validate tells what the kernel would refuse in a match.
func (m Match) validate(f Family) error {
	ports := m.SPort.Set || m.DPort.Set || m.DPorts.Set
	slots := 0
	for _, r := range m.DPorts.Val {
		slots++
		if !r.Single() {
			slots++
		}
	}
	switch {
	case m.Src.Set && !f.Has(m.Src.Val.Addr()) || m.Dst.Set && !f.Has(m.Dst.Val.Addr()):
		return fmt.Errorf("the address is not of the family %s", f)
	case m.Src.Neg && m.Src.Val.Bits() == 0 || m.Dst.Neg && m.Dst.Val.Bits() == 0:
		return errors.New("a negated prefix of 0 bits takes no packet")
	case ports && m.Proto != TCP && m.Proto != UDP:
		return errors.New("a port needs -p tcp or -p udp")
	case m.SYN.Set && (m.Proto != TCP || !m.SYN.Val):
		return errors.New("--syn needs -p tcp")
	case m.DPorts.Set && (slots == 0 || slots > MaxMultiport):
		return fmt.Errorf("multiport holds 1 to %d ports, a range counts for two", MaxMultiport)
	case m.State.Set && m.State.Val == 0:
		return errors.New("--ctstate needs a state")
	}
	return nil
}

// loop returns a chain from which a jump leads back to it, or "".
func (t Table) loop() string {
	state := map[string]int{} // 1: on the way, 2: done
	var visit func(string) string
	visit = func(name string) string {
		state[name] = 1
		for _, r := range t.chain(name) {
			jump, ok := r.Target.(Jump)
			if !ok || state[jump.Chain] == 2 {
				continue
			}
			if state[jump.Chain] == 1 {
				return jump.Chain
			}
			if found := visit(jump.Chain); found != "" {
				return found
			}
		}
		state[name] = 2
		return ""
	}
	for _, c := range t.Chains {
		if state[c.Name] == 0 {
			if found := visit(c.Name); found != "" {
				return found
			}
		}
	}
	return ""
}
