package test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
	"istio-init/test/scenario"
)

// mutated are the scenarios in which each rule and its position is needed.
var mutated = []string{"redirect-default", "tproxy-default", "dns-servers", "tproxy-dns"}

// TestEveryRuleIsNeeded changes one rule of the default scenarios at a time: each is
// removed, and swapped with the next one. The outcome of some flow has to change: by the
// typed rules or, for rules that affect only existing connections, by sockets on the
// kernel. [needless] lists the exceptions with their reasons, and is checked too.
func TestEveryRuleIsNeeded(t *testing.T) {
	unused := map[needlessKey]bool{}
	for key := range needless {
		unused[key] = true
	}
	for _, name := range mutated {
		loaded := scenario.Load(t, testdata, name)
		for _, m := range (stage{loaded, loaded.Config(t)}).mutants(t) {
			delete(unused, needlessKey{name, m.change})
			m.unchanged = m.unchangedByRules()
			why := needless[needlessKey{name, m.change}]
			switch {
			case m.same && len(m.unchanged) == len(m.rules): // swapped rules with the same effect
				continue
			case why == "" && len(m.unchanged) == 0: // a flow changes in every family
				continue
			case why != "" && len(m.unchanged) < len(m.rules):
				t.Errorf("%s, %s: listed as needless (%s), but a flow tells by the rules", name, m.change, why)
				continue
			}
			t.Run(name+"/"+m.change, func(t *testing.T) {
				t.Parallel()
				m.onKernel(t)
			})
		}
	}
	for key := range unused {
		t.Errorf("%s, %s: listed, but there is no such rule", key.scenario, key.change)
	}
}

// A mutant is a scenario whose rules have one change, the same in both families
// where both have the rule.
type mutant struct {
	scenario  stage
	change    string // "drop" or "swap", the table, the chain and the rule as it is in IPv4
	same      bool   // two rules with the same effect are swapped
	rules     map[inet.Family]iptables.Ruleset
	unchanged []inet.Family // the families in which no flow changes
}

// mutants returns all changes of the scenario, in the order of the rules.
func (s stage) mutants(t *testing.T) []*mutant {
	t.Helper()
	var all []*mutant
	add := func(change string, same bool, rs iptables.Ruleset) {
		i := slices.IndexFunc(all, func(m *mutant) bool { return m.change == change })
		if i < 0 {
			i = len(all)
			all = append(all, &mutant{scenario: s, change: change, rules: map[inet.Family]iptables.Ruleset{}})
		}
		all[i].same, all[i].rules[rs.Family] = same, rs
	}
	for _, f := range s.config.Captured {
		rs := s.Rules(t, f)
		for ti, table := range rs.Tables {
			for ci, chain := range table.Chains {
				at := table.Name + " " + chain.Name + ": "
				with := func(rules []iptables.Rule) iptables.Ruleset {
					changed := iptables.Ruleset{Family: f, Tables: slices.Clone(rs.Tables)}
					changed.Tables[ti].Chains = slices.Clone(table.Chains)
					changed.Tables[ti].Chains[ci].Rules = rules
					return changed
				}
				for i, rule := range chain.Rules {
					add("drop "+at+asIPv4(rule), false, with(slices.Delete(slices.Clone(chain.Rules), i, i+1)))
					if i == 0 {
						continue
					}
					before, swapped := chain.Rules[i-1], slices.Clone(chain.Rules)
					swapped[i-1], swapped[i] = rule, before
					add("swap "+at+asIPv4(before)+" | "+asIPv4(rule), before.Target == rule.Target, with(swapped))
				}
			}
		}
	}
	return all
}

// asIPv4 returns the text of a rule with the addresses of IPv4.
func asIPv4(r iptables.Rule) string {
	return strings.NewReplacer("::1/128", "127.0.0.1/32", "::6/128", "127.0.0.6/32", "--on-ip ::", "--on-ip 0.0.0.0",
		"2001:db8:53::1/128", "10.96.0.10/32").Replace(r.Text(inet.IPv6))
}

// unchangedByRules returns the families in which the changed rules change no flow.
func (m *mutant) unchangedByRules() []inet.Family {
	var unchanged []inet.Family
	for _, family := range inet.Families {
		rs, ok := m.rules[family]
		if ok && !slices.ContainsFunc(m.scenario.Flows, func(fl flow.Flow) bool {
			return slices.Contains(fl.In(m.scenario.config.Captured), family) &&
				flow.PredictBy(m.scenario.config, rs, fl).Outcome != fl.Outcome
		}) {
			unchanged = append(unchanged, family)
		}
	}
	return unchanged
}

// onKernel makes the connections of the scenario with the changed rules.
func (m *mutant) onKernel(t *testing.T) {
	t.Helper()
	needKernel(t)
	s := m.scenario
	pod := pod.New(t, s.config)
	for _, f := range s.config.Captured {
		rs, ok := m.rules[f]
		if !ok {
			rs = s.Rules(t, f)
		}
		s.install(t, pod, rs, s.Routes(f))
	}
	pod.Serve(t, s.Flows)
	why := needless[needlessKey{s.Name(), m.change}]
	var families sync.WaitGroup
	for _, family := range m.unchanged {
		families.Go(func() {
			switch told := m.tells(pod, family); {
			case told == "" && why == "":
				t.Errorf("%s: no flow tells, by the rules or on the kernel", family)
			case told != "" && why != "":
				t.Errorf("%s: listed as needless (%s), but a flow tells on the kernel: %s", family, why, told)
			}
		})
	}
	families.Wait()
}

// tells returns the first flow whose outcome on the kernel changes, and how; "" if there
// is none.
func (m *mutant) tells(pod *pod.Pod, family inet.Family) string {
	for _, fl := range m.scenario.Flows {
		if !slices.Contains(fl.In(m.scenario.config.Captured), family) {
			continue
		}
		if got, _ := pod.Observe(fl, family); got != fl.Outcome {
			return fmt.Sprintf("%s: it is %s", fl.Line, got)
		}
	}
	return ""
}

// install installs rules in the pod, with their routes and address.
func (s stage) install(t *testing.T, pod *pod.Pod, rs iptables.Ruleset, routes []string) {
	t.Helper()
	restoreIn(t, pod, xtables.NFT, rs.Family, rs.String())
	for _, command := range routes {
		runIP(t, pod, command)
	}
	if rs.Family == inet.IPv6 {
		runIP(t, pod, "address add ::6/128 dev lo")
	}
}

func runIP(t *testing.T, pod *pod.Pod, command string) {
	t.Helper()
	if _, stderr, err := pod.Run(t.Context(), "ip", strings.Fields(command)...); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, stderr)
	}
}
