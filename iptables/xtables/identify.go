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
// wanted ones, and returns the state with the answers, for [Plan]. It changes nothing, and
// mostly there is nothing to ask. It also returns the rules that it cannot ask about; they
// count as different from the wanted ones.
func (b *Backend) Identify(ctx context.Context, have FamilyState, want iptables.Ruleset) (FamilyState, []iptables.UnreadableRule, error) {
	rules := have.Rules.UnreadableRules(have.Own, want)
	if len(rules) == 0 {
		return have, nil, nil
	}
	program := strings.TrimSuffix(b.families[want.Family].restore, "-restore")
	if why := b.cannotAsk(want.Family, program); why != "" {
		for i := range rules {
			rules[i].Unasked = why
		}
		return have, rules, nil
	}
	same, err := existing(ctx, b.lockWaitIn(ctx), want.Family, program, rules)
	if err != nil {
		return have, nil, fmt.Errorf("ask %s about unreadable rules: %w", program, err)
	}
	have.Rules = have.Rules.Identified(same)
	return have, nil, nil
}

// cannotAsk is why the check command is of no use; "": it is of use.
func (b *Backend) cannotAsk(f inet.Family, program string) string {
	if b.unaskable != "" {
		return b.unaskable
	}
	// In 1.8.8 and 1.8.9 it compares no value of a match or a target ("ip6tables: Fix
	// checking existence of rule", 1.8.10).
	if b.variant == Legacy && f == inet.IPv6 {
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
