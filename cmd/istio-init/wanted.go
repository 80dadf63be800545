package main

import (
	"fmt"
	"net/netip"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// complete takes what the configuration needs of the machine besides the input.
func (inv *invocation) complete() error {
	warning, err := resolveDNS(inv.set, func() ([]netip.Addr, error) { return netutil.DNSServers("/etc/resolv.conf") })
	if err != nil {
		return err
	}
	if warning != "" {
		inv.log.Warn(warning)
	}
	if err := inv.set.Config.Validate(); err != nil {
		return fmt.Errorf("bug: the input was accepted but is not valid: %w", err)
	}
	return nil
}

// planned returns the rules that the flags make, for a question about them.
func (inv *invocation) planned() ([]iptables.Ruleset, error) {
	if err := inv.complete(); err != nil {
		return nil, err
	}
	return inv.wanted()
}

// families are those that are captured, and what to warn of.
func (inv *invocation) families() (families []inet.Family, warnings []string, err error) {
	addrs, err := netutil.Addrs(passthroughV6)
	if err != nil {
		return nil, nil, err
	}
	families, warnings = decideFamilies(inv.set.Families, inv.set.DualStack, addrs, netutil.IPv6Off)
	return families, warnings, nil
}

// wanted returns the rules for both families; for one that is not captured they
// are none.
func (inv *invocation) wanted() ([]iptables.Ruleset, error) {
	families, warnings, err := inv.families()
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		inv.log.Warn(w)
	}
	want := make([]iptables.Ruleset, len(inet.Families))
	for _, f := range inet.Families {
		want[f].Family = f
	}
	for _, f := range families {
		want[f] = capture.Rules(inv.set.Config, f)
		if err := want[f].Validate(); err != nil {
			return nil, fmt.Errorf("bug in the rules for %s: %w", f, err)
		}
		if len(want[f].Tables) == 0 && inv.set.Config.Mode != capture.None {
			inv.log.Warn(fmt.Sprintf("%s is not captured: the rules of Istio %s have none for it", f, inv.set.Config.Generation))
		}
	}
	return want, nil
}
