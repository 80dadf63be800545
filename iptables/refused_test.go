package iptables_test

import (
	"strings"
	"testing"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// inChain is a ruleset whose rules a built-in chain jumps to.
func inChain(table, hook string, rules ...iptables.Rule) iptables.Ruleset {
	return tableOf(table,
		iptables.Chain{Name: hook, Rules: []iptables.Rule{{Target: iptables.Jump{Chain: "ISTIO_A"}}}},
		iptables.Chain{Name: "ISTIO_A", Rules: rules})
}

func tableOf(table string, chains ...iptables.Chain) iptables.Ruleset {
	return iptables.Ruleset{Tables: []iptables.Table{{Name: table, Chains: chains}}}
}

func jumpIf(m iptables.Match) iptables.Rule {
	return iptables.Rule{Match: m, Target: iptables.Jump{Chain: "ISTIO_A"}}
}

func returnIf(m iptables.Match) iptables.Rule {
	return iptables.Rule{Match: m, Target: iptables.Return}
}

// owners is a condition on as many group ids.
func owners(n int) iptables.Match {
	var m iptables.Match
	for i := range n {
		m.GIDs = append(m.GIDs, iptables.Not(iptables.ID(uint32(i))))
	}
	return m
}

func withOut(m iptables.Match, out iptables.Cond[iptables.Interface]) iptables.Match {
	m.Out = out
	return m
}

// mostWords has as many words as iptables-restore takes.
var mostWords = inChain("nat", "OUTPUT", returnIf(withOut(owners(49), iptables.Is(iptables.Interface("lo")))))

var tcp = iptables.TCP

// impossible are rulesets that the types can say and the kernel refuses, or takes
// and prints otherwise than we do. Validate has to refuse all of them: it is the
// preflight of a change, since nothing is tried on the kernel.
var impossible = []struct {
	name string
	rs   iptables.Ruleset
}{
	{"drop-in-nat", inChain("nat", "OUTPUT", iptables.Rule{Target: iptables.Drop})},
	{"verdict-that-is-none", inChain("nat", "OUTPUT", iptables.Rule{Target: iptables.Verdict(0)})},
	{"tproxy-of-any-protocol", inChain("mangle", "PREROUTING", iptables.Rule{Target: iptables.TProxy{Port: 1}})},
	{"tproxy-on-the-way-out", inChain("mangle", "OUTPUT", iptables.Rule{Match: iptables.Match{Proto: tcp}, Target: iptables.TProxy{Port: 1}})},
	{"redirect-after-routing", inChain("nat", "POSTROUTING", iptables.Rule{Match: iptables.Match{Proto: tcp}, Target: iptables.Redirect{Port: 1}})},
	{"owner-on-the-way-in", inChain("nat", "PREROUTING", returnIf(owners(1)))},
	{"owner-in-the-hook-on-the-way-in", tableOf("nat",
		iptables.Chain{Name: "PREROUTING", Rules: []iptables.Rule{jumpIf(owners(1))}}, iptables.Chain{Name: "ISTIO_A"})},
	{"out-interface-in-the-hook-on-the-way-in", tableOf("nat",
		iptables.Chain{Name: "PREROUTING", Rules: []iptables.Rule{jumpIf(iptables.Match{Out: iptables.Is(iptables.Interface("lo"))})}}, iptables.Chain{Name: "ISTIO_A"})},
	{"in-interface-in-the-hook-on-the-way-out", tableOf("nat",
		iptables.Chain{Name: "OUTPUT", Rules: []iptables.Rule{jumpIf(iptables.Match{In: iptables.Is(iptables.Interface("lo"))})}}, iptables.Chain{Name: "ISTIO_A"})},
	{"ports-backwards", inChain("nat", "OUTPUT", returnIf(iptables.Match{Proto: tcp, DPort: iptables.Is(iptables.PortRange{Lo: 90, Hi: 80})}))},
	{"multiport-backwards", inChain("nat", "OUTPUT", returnIf(iptables.Match{Proto: tcp, DPorts: iptables.Is([]iptables.PortRange{{Lo: 90, Hi: 80}})}))},
	{"ids-backwards", inChain("nat", "OUTPUT", returnIf(iptables.Match{UIDs: []iptables.Cond[iptables.IDRange]{iptables.Is(iptables.IDRange{Lo: 9, Hi: 3})}}))},
	{"id-that-is-none", inChain("nat", "OUTPUT", returnIf(iptables.Match{UIDs: []iptables.Cond[iptables.IDRange]{iptables.Is(iptables.ID(iptables.MaxID + 1))}}))},
	{"more-words-than-a-rule-has", inChain("nat", "OUTPUT", returnIf(owners(50)))},
	{"one-word-more-than-a-rule-has", inChain("nat", "OUTPUT", returnIf(withOut(owners(49), iptables.Not(iptables.Interface("lo")))))},
	{"interface-of-two-words", inChain("nat", "OUTPUT", returnIf(iptables.Match{Out: iptables.Is(iptables.Interface("a b"))}))},
	{"state-that-is-none", inChain("nat", "OUTPUT", returnIf(iptables.Match{State: iptables.Is(iptables.States(1 << 7))}))},
	{"chain-of-two-words", tableOf("nat", iptables.Chain{Name: "ISTIO_A - [0:0]\n:ISTIO_B X"})},

	{"protocol-with-a-name-of-its-own", inChain("nat", "OUTPUT", returnIf(iptables.Match{Proto: 1}))},
	{"every-port", inChain("nat", "OUTPUT", returnIf(iptables.Match{Proto: tcp, DPort: iptables.Is(iptables.PortRange{Lo: 0, Hi: 65535})}))},
	{"table-twice", iptables.Ruleset{Tables: append(inChain("nat", "OUTPUT").Tables, tableOf("nat", iptables.Chain{Name: "ISTIO_B"}).Tables...)}},
}

func TestValidateRefusesInvalidRules(t *testing.T) {
	t.Parallel()
	for _, tt := range impossible {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.rs.Validate() == nil {
				t.Errorf("want a refusal of\n%s", tt.rs)
			}
		})
	}
	if err := mostWords.Validate(); err != nil {
		t.Errorf("as many words as a rule may have: %v", err)
	}
}

// TestKernelRefusesWhatValidateRefuses shows that the list is true.
func TestKernelRefusesWhatValidateRefuses(t *testing.T) {
	onKernels(t, func(t *testing.T, v xtables.Variant) {
		for _, tt := range impossible {
			t.Run(tt.name, func(t *testing.T) {
				ns := kernel.NewNetNS(t)
				err := ns.Restore(t, v, inet.IPv4, xtables.Script(iptables.PlanISTIO(iptables.Snapshot{}, tt.rs)))
				switch got := ns.Save(t, v, inet.IPv4); {
				case err == nil && got == tt.rs.String():
					t.Errorf("the kernel takes it, and prints what we print:\n%s", got)
				case err != nil && strings.Contains(got, "-A "):
					t.Errorf("refused by %v, but there are rules:\n%s", err, got)
				}
			})
		}
		ns := kernel.NewNetNS(t)
		if err := ns.Restore(t, v, inet.IPv4, xtables.Script(iptables.PlanISTIO(iptables.Snapshot{}, mostWords))); err != nil {
			t.Errorf("as many words as a rule may have: %v", err)
		}
	})
}
