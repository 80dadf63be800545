package xtables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

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
	same, err := b.existing(ctx, program, rules)
	if err != nil {
		return have, nil, fmt.Errorf("ask %s about unreadable rules: %w", program, err)
	}
	have.Rules = have.Rules.Identified(same)
	return have, nil, nil
}

// cannotAsk is why the check command is of no use; "": it is of use.
func (b *Backend) cannotAsk(f inet.Family, program string) string {
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

// existing returns the wanted rules that are there, by the place of the unreadable rule. The
// check command exits with 1 where a rule is not there.
func (b *Backend) existing(ctx context.Context, program string, rules []iptables.UnreadableRule) (map[iptables.Place]iptables.Rule, error) {
	same := map[iptables.Place]iptables.Rule{}
	for _, r := range rules {
		args := append([]string{"-t", r.Table, "-C", r.Chain}, strings.Fields(r.Wanted.Text)...)
		p := b.newProcess(program, append(args, b.waitForLock(ctx)...)...)
		runAll(ctx, []*process{p})
		exit, ended := errors.AsType[*exec.ExitError](p.err)
		switch {
		case p.err == nil:
			same[r.Place] = r.Wanted.Rule
		case ended && ctx.Err() == nil && exit.ExitCode() == 1:
		default:
			return nil, fmt.Errorf("%w: %s", p.err, p.stderrText())
		}
	}
	return same, nil
}
