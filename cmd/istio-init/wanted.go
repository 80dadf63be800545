package main

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
)

// complete takes what the configuration needs of the machine besides the input.
func (inv *invocation) complete() error {
	warning, err := inv.set.resolveDNS(func() ([]netip.Addr, error) { return netutil.DNSServers("/etc/resolv.conf") })
	if err != nil {
		return err
	}
	if warning != "" {
		inv.log.Warn(warning)
	}
	if err := inv.set.config.Validate(); err != nil {
		return fmt.Errorf("bug: the input was accepted but is not valid: %w", err)
	}
	collectSeldom(inv.set.config.Elements())
	for _, f := range iptables.Families {
		inv.rules[f] = sync.OnceValues(func() (iptables.Checked, error) { return capture.Rules(inv.set.config, f).Check() })
	}
	return nil
}

// manyElements are as many as take milliseconds to make rules of.
const manyElements = 500

// collectSeldom has garbage collected less often where there is much to do. Even then
// a run is short and needs little: with 5,000 prefixes it has 15 MB in memory, and to
// collect in between takes up to a fifth of its processor time. To say so takes a tenth
// of a millisecond, as all goroutines are stopped for it.
func collectSeldom(elements int) {
	const percent = 400 // of what is in use, by default 100
	if elements >= manyElements {
		debug.SetGCPercent(percent)
	}
}

// ahead makes the rules while the state of the namespace is waited for. Who takes them
// is told what is wrong with them.
func (inv *invocation) ahead() {
	for _, f := range iptables.Families {
		if rules := inv.rules[f]; rules != nil && (f == iptables.IPv4 || inv.set.families == familiesDual || inv.set.dualStack) {
			_, _ = rules()
		}
	}
}

// planned returns the rules that the flags make, for a question about them.
func (inv *invocation) planned() ([]iptables.Ruleset, error) {
	if err := inv.complete(); err != nil {
		return nil, err
	}
	want, err := inv.wanted()
	return rulesets(want), err
}

// rulesets are the rules that were checked.
func rulesets(checked []iptables.Checked) []iptables.Ruleset {
	rules := make([]iptables.Ruleset, 0, len(checked))
	for _, c := range checked {
		rules = append(rules, c.Rules())
	}
	return rules
}

// families are those that are captured, and what to warn of.
func (inv *invocation) families() (families []iptables.Family, warnings []string, err error) {
	addrs, err := netutil.Addrs(passthroughV6)
	if err != nil {
		return nil, nil, err
	}
	families, warnings = inv.set.decideFamilies(addrs, netutil.IPv6Off)
	return families, warnings, nil
}

// wanted returns the rules for both families; for one that is not captured they
// are none.
func (inv *invocation) wanted() ([]iptables.Checked, error) {
	families, warnings, err := inv.families()
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		inv.log.Warn(w)
	}
	want := make([]iptables.Checked, len(iptables.Families))
	for _, f := range iptables.Families {
		want[f] = iptables.Nothing(f)
	}
	for _, f := range families {
		if want[f], err = inv.rules[f](); err != nil {
			return nil, fmt.Errorf("bug in the rules for %s: %w", f, err)
		}
		if len(want[f].Rules().Tables) == 0 && inv.set.config.Mode != capture.None {
			inv.log.Warn(fmt.Sprintf("%s is not captured: the rules of Istio %s have none for it", f, inv.set.config.Generation))
		}
	}
	return want, nil
}
