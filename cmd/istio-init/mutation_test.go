package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"istio-init/capture/capturetest"
	"istio-init/iptables"
	"istio-init/netutil"
)

// mutated are the scenarios whose rules are all needed, and all in their place.
var mutated = []string{"redirect-default", "tproxy-default", "dns-servers", "tproxy-dns"}

// TestEveryRuleIsNeeded changes the rules of the default scenarios, one at a time:
// each is dropped, and exchanged with the one after it. A flow of the scenario has
// to come out otherwise then: by the rules, or where they matter only once a
// connection is there, by sockets on the kernel. What no flow can tell is listed
// in [needless] with the reason, and the list has to be true.
func TestEveryRuleIsNeeded(t *testing.T) {
	unused := map[needlessKey]bool{}
	for key := range needless {
		unused[key] = true
	}
	for _, name := range mutated {
		s := loadScenario(t, "../../testdata/scenarios/"+name+".txtar")
		for _, m := range s.mutants() {
			delete(unused, needlessKey{name, m.change})
			m.untold = m.untoldByRules()
			why := needless[needlessKey{name, m.change}]
			switch {
			case m.same && len(m.untold) == len(m.rules): // exchanged rules that do the same
				continue
			case why == "" && len(m.untold) == 0: // told in every family
				continue
			case why != "" && len(m.untold) < len(m.rules):
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
	scenario *scenario
	change   string // "drop" or "swap", the table, the chain and the rule as it is in IPv4
	same     bool   // two rules are exchanged that do the same to a packet
	rules    map[iptables.Family]iptables.Ruleset
	untold   []iptables.Family // where no flow tells
}

// mutants are all changes of the scenario, in the order of the rules.
func (s *scenario) mutants() []*mutant {
	var all []*mutant
	add := func(change string, same bool, rs iptables.Ruleset) {
		i := slices.IndexFunc(all, func(m *mutant) bool { return m.change == change })
		if i < 0 {
			i = len(all)
			all = append(all, &mutant{scenario: s, change: change, rules: map[iptables.Family]iptables.Ruleset{}})
		}
		all[i].same, all[i].rules[rs.Family] = same, rs
	}
	for _, f := range s.config.Captured {
		rs := s.config.Rules(f)
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

// asIPv4 spells a rule of either family in one way.
func asIPv4(r iptables.Rule) string {
	return strings.NewReplacer("::1/128", "127.0.0.1/32", "::6/128", "127.0.0.6/32", "--on-ip ::", "--on-ip 0.0.0.0",
		"2001:db8:53::1/128", "10.96.0.10/32").Replace(r.Text(iptables.IPv6))
}

// untoldByRules returns the families in which no flow comes out otherwise by the
// changed rules.
func (m *mutant) untoldByRules() []iptables.Family {
	var untold []iptables.Family
	for _, family := range iptables.Families {
		rs, ok := m.rules[family]
		if ok && !slices.ContainsFunc(m.scenario.flows, func(flow capturetest.Flow) bool {
			return slices.Contains(flow.In(m.scenario.config.Captured), family) &&
				capturetest.PredictBy(m.scenario.config, rs, flow).Outcome != flow.Outcome
		}) {
			untold = append(untold, family)
		}
	}
	return untold
}

// onKernel makes the connections of the scenario under the changed rules.
func (m *mutant) onKernel(t *testing.T) {
	needKernel(t)
	s := m.scenario
	pod := capturetest.NewPod(t, s.config)
	for _, f := range s.config.Captured {
		rs, ok := m.rules[f]
		if !ok {
			rs = s.config.Rules(f)
		}
		install(t, pod, rs, s.settings.route(rs))
	}
	pod.Serve(t, s.flows)
	why := needless[needlessKey{s.name(), m.change}]
	var families sync.WaitGroup
	for _, family := range m.untold {
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

// tells returns the first flow that comes out otherwise on the kernel, and how; ""
// if there is none.
func (m *mutant) tells(pod *capturetest.Pod, family iptables.Family) string {
	for _, flow := range m.scenario.flows {
		if !slices.Contains(flow.In(m.scenario.config.Captured), family) {
			continue
		}
		if got, _ := pod.Observe(flow, family); got != flow.Outcome {
			return fmt.Sprintf("%s: it is %s", flow.Line, got)
		}
	}
	return ""
}

// install puts rules into the pod as they are, and what goes with them.
func install(t *testing.T, pod *capturetest.Pod, rs iptables.Ruleset, route netutil.TProxyRoute) {
	t.Helper()
	pod.Pod.Do(t, func() error {
		restore := exec.Command(strings.Replace(iptables.SaveTool(rs.Family), "-save", "-nft-restore", 1))
		restore.Stdin = strings.NewReader(rs.String())
		if out, err := restore.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", restore.Path, err, out)
		}
		if rs.Family == iptables.IPv6 {
			if _, err := netutil.AddLoopbackAddr(passthroughV6); err != nil {
				return err
			}
		}
		if route == (netutil.TProxyRoute{}) {
			return nil
		}
		_, err := tproxyRoutes.Add(rs.Family, route)
		return err
	})
}
