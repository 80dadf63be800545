package xtables

import (
	"context"
	"fmt"
	"os"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Identify asks iptables whether the [iptables.Snapshot.UnreadableRules] of a family are the
// wanted ones, and keeps the answers in the state, for [Kernel.Plan]. It changes nothing,
// and mostly there is nothing to ask. It returns the rules that it cannot ask about;
// they count as different from the wanted ones.
func (k *Kernel) Identify(ctx context.Context, want iptables.Ruleset) (unasked []iptables.UnreadableRule, err error) {
	s := &k.sides[want.Family]
	rules := s.have.UnreadableRules(s.own, want)
	if len(rules) == 0 {
		return nil, nil
	}
	program := strings.TrimSuffix(s.restore, "-restore")
	if why := k.cannotAsk(want.Family, program); why != "" {
		for i := range rules {
			rules[i].Unasked = why
		}
		return rules, nil
	}
	same, err := existing(ctx, k.lockWaitIn(ctx), want.Family, program, rules)
	if err != nil {
		return nil, fmt.Errorf("ask %s about unreadable rules: %w", program, err)
	}
	s.have = s.have.Identified(same)
	return nil, nil
}

// cannotAsk is why the check command is of no use; "": it is of use.
func (k *Kernel) cannotAsk(f inet.Family, program string) string {
	if k.unaskable != "" {
		return k.unaskable
	}
	// In 1.8.8 and 1.8.9 it compares no value of a match or a target ("ip6tables: Fix
	// checking existence of rule", 1.8.10).
	if k.variant == Legacy && f == inet.IPv6 {
		return "ip6tables-legacy may take a rule with other values for the same"
	}
	if _, err := os.Stat(program); err != nil {
		return program + " is not installed"
	}
	return ""
}

// existing returns the wanted rules that are there, by the text of the unreadable rule
// that is in their place.
//
// go-iptables asks by the check command of iptables. It takes no context: so its own
// option bounds the wait for the lock, and a context that has ended meanwhile is an error.
// It takes neither an environment nor capabilities nor another user namespace: where the
// programs need these, it is not asked.
func existing(ctx context.Context, wait int, f inet.Family, program string, rules []iptables.UnreadableRule) (map[iptables.Place]iptables.Rule, error) {
	proto := goiptables.ProtocolIPv4
	if f == inet.IPv6 {
		proto = goiptables.ProtocolIPv6
	}
	ipt, err := goiptables.New(goiptables.IPFamily(proto), goiptables.Path(program), goiptables.Timeout(max(1, wait))) // 0 is for ever
	if err != nil {
		return nil, err
	}
	same := map[iptables.Place]iptables.Rule{}
	for _, r := range rules {
		there, err := ipt.Exists(r.Table, r.Chain, strings.Fields(r.Wanted.Text)...)
		if err != nil {
			return nil, err
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if there {
			same[r.Place] = r.Wanted.Rule
		}
	}
	return same, nil
}
