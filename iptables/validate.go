package iptables

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

const (
	// maxChainName is the longest name of a chain
	// (linux/netfilter/x_tables.h, XT_EXTENSION_MAXNAMELEN less the zero).
	maxChainName = 28
	// maxWords is how many words iptables-restore takes in a line: fewer than
	// MAX_ARGC (iptables/xshared.h), less the name of the program, the table
	// and its name.
	maxWords = 254 - 3
)

// Validate tells what the kernel, or the law that everything ours is in our
// chains, would refuse. A nil error means that a refusal can only come from what
// the kernel lacks. All problems are reported, joined.
func (rs Ruleset) Validate() error {
	var errs []error
	seen := map[string]bool{}
	for _, t := range rs.Tables {
		if seen[t.Name] {
			errs = append(errs, fmt.Errorf("table %s is there twice", t.Name))
		}
		seen[t.Name] = true
		errs = append(errs, t.validate(rs.Family))
	}
	return errors.Join(errs...)
}

func (t Table) validate(f inet.Family) error {
	if BuiltinChains(t.Name) == nil {
		return fmt.Errorf("table %q: no such table", t.Name)
	}
	var errs []error
	known, hooks := map[string]bool{}, t.hooksOf()
	for _, c := range t.Chains {
		known[c.Name] = true
	}
	seen := map[string]bool{}
	for _, c := range t.Chains {
		if seen[c.Name] {
			errs = append(errs, fmt.Errorf("table %s: chain %s is there twice", t.Name, c.Name))
		}
		seen[c.Name] = true
		if err := t.validateName(c.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		from := hooks[c.Name]
		for i := range c.Rules {
			r := &c.Rules[i]
			if err := t.validateRule(f, c.Name, from, known, r); err != nil {
				errs = append(errs, fmt.Errorf("table %s: chain %s: rule %d %q: %w", t.Name, c.Name, i+1, r.Text(f), err))
			}
		}
	}
	if loop := t.loop(); loop != "" {
		errs = append(errs, fmt.Errorf("table %s: chain %s leads back to itself", t.Name, loop))
	}
	return errors.Join(errs...)
}

func (t Table) validateName(name string) error {
	switch {
	case slices.Contains(BuiltinChains(t.Name), name):
		return nil
	case slices.Contains(Hooks, name):
		return fmt.Errorf("table %s: no built-in chain %s", t.Name, name)
	case len(name) > maxChainName:
		return fmt.Errorf("table %s: chain %s: name longer than %d bytes", t.Name, name, maxChainName)
	case strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "":
		return fmt.Errorf("table %s: chain %q: name of other than capitals, digits and _", t.Name, name)
	}
	return nil
}

// hooksOf returns the built-in chains from which each chain is reached.
func (t Table) hooksOf() map[string][]string {
	hooks := map[string][]string{}
	for _, hook := range BuiltinChains(t.Name) {
		todo := []string{hook}
		for len(todo) > 0 {
			name := todo[0]
			todo = todo[1:]
			if slices.Contains(hooks[name], hook) {
				continue
			}
			hooks[name] = append(hooks[name], hook)
			rules := t.chain(name)
			for i := range rules {
				if chain, ok := nextChain(rules[i].Target); ok {
					todo = append(todo, chain)
				}
			}
		}
	}
	return hooks
}

func (t Table) validateRule(f inet.Family, chain string, hooks []string, known map[string]bool, r *Rule) error {
	_, isJump := r.Target.(Jump)
	to, continues := nextChain(r.Target)
	builtin := func(name string) bool { return slices.Contains(BuiltinChains(t.Name), name) }
	only := func(allowed ...string) bool {
		return !slices.ContainsFunc(hooks, func(h string) bool { return !slices.Contains(allowed, h) })
	}
	switch {
	case r.Foreign != nil:
		return errors.New("is not ours to make")
	case r.Target == nil:
		return errors.New("has no target")
	case builtin(chain) && !isJump:
		return errors.New("a built-in chain may only hold jumps to our chains")
	case continues && (builtin(to) || !known[to]):
		return fmt.Errorf("jumps to %q, which is no chain of ours in the table", to)
	case !r.Target.legalIn(t.Name):
		return errors.New("the target is not allowed in the table")
	case !only(r.Target.legalAt()...):
		return fmt.Errorf("the target is not allowed in a chain reached from %s", strings.Join(hooks, ", "))
	case r.Proto == 0 && needsPorts(r.Target):
		return errors.New("the target needs -p tcp or -p udp")
	case len(r.UIDs)+len(r.GIDs) > 0 && !only(Output, Postrouting):
		return fmt.Errorf("-m owner is not allowed in a chain reached from %s", strings.Join(hooks, ", "))
	case r.In.Set && !only(Prerouting, Input, Forward):
		return fmt.Errorf("-i has no effect in a chain reached from %s", strings.Join(hooks, ", "))
	case r.Out.Set && !only(Output, Forward, Postrouting):
		return fmt.Errorf("-o has no effect in a chain reached from %s", strings.Join(hooks, ", "))
	case r.long() && 2+len(strings.Fields(r.Text(f))) > maxWords: // with "-A CHAIN"
		return fmt.Errorf("has more than %d words", maxWords)
	}
	return r.validate(f)
}

// long reports whether the rule may have many words: its owners repeat, all else is
// there once.
func (r *Rule) long() bool { return len(r.UIDs)+len(r.GIDs) > maxWords/8 }

func needsPorts(t Target) bool {
	switch t.(type) {
	case Redirect, TProxy:
		return true
	}
	return false
}

// validate tells what the kernel would refuse, or print otherwise, in a match.
func (m *Match) validate(f inet.Family) error {
	ports := m.SPort.Set || m.DPort.Set || m.DPorts.Set
	switch {
	case m.Src.Set && !f.Has(m.Src.Val.Addr()) || m.Dst.Set && !f.Has(m.Dst.Val.Addr()):
		return fmt.Errorf("the address is not of the family %s", f)
	case everything(m.Src) || everything(m.Dst):
		return errors.New("a negated prefix of 0 bits takes no packet")
	case m.Proto != 0 && m.Proto != TCP && m.Proto != UDP:
		return fmt.Errorf("protocol %d is neither tcp nor udp", m.Proto)
	case ports && m.Proto == 0:
		return errors.New("a port needs -p tcp or -p udp")
	case badPorts(m.SPort) || badPorts(m.DPort):
		return errors.New("the ports are no range, or are all ports")
	case m.SYN.Set && (m.Proto != TCP || !m.SYN.Val):
		return errors.New("--syn needs -p tcp")
	case m.DPorts.Set && !fitsMultiport(m.DPorts.Val):
		return fmt.Errorf("multiport holds 1 to %d ports, a range counts for two", MaxMultiport)
	case m.State.Set && (m.State.Val == 0 || m.State.Val >= 1<<len(stateNames)):
		return errors.New("--ctstate needs states")
	}
	for _, i := range []Cond[Interface]{m.In, m.Out} {
		var same Interface
		if i.Set && same.UnmarshalText([]byte(i.Val)) != nil {
			return fmt.Errorf("%q is not an interface", i.Val)
		}
	}
	for _, id := range slices.Concat(m.UIDs, m.GIDs) {
		if !id.Set || id.Val.Lo > id.Val.Hi || id.Val.Hi > MaxID {
			return fmt.Errorf("%s is no id or range of ids", id.Val)
		}
	}
	return nil
}

// everything tells of a condition that no packet meets.
func everything(c Cond[netip.Prefix]) bool { return c.Set && c.Neg && c.Val.Bits() == 0 }

func badPorts(c Cond[PortRange]) bool {
	return c.Set && (c.Val.Lo > c.Val.Hi || c.Val.Lo == 0 && c.Val.Hi == 65535)
}

// fitsMultiport reports whether the ports are ranges that one match holds.
func fitsMultiport(list []PortRange) bool {
	slots := 0
	for _, r := range list {
		slots++
		if !r.Single() {
			slots++
		}
		if r.Lo > r.Hi {
			return false
		}
	}
	return slots >= 1 && slots <= MaxMultiport
}

// loop returns a chain from which a jump leads back to it, or "".
func (t Table) loop() string {
	state := map[string]int{} // 1: on the way, 2: done
	var visit func(string) string
	visit = func(name string) string {
		state[name] = 1
		rules := t.chain(name)
		for i := range rules {
			chain, ok := nextChain(rules[i].Target)
			if !ok || state[chain] == 2 {
				continue
			}
			if state[chain] == 1 {
				return chain
			}
			if found := visit(chain); found != "" {
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
