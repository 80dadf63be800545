package iptables

import "strings"

// RulesOf is for the tests that need the kernel or its fake, which import this
// package and so cannot be in it.
var RulesOf = rulesOf

// OwnISTIO says that chains are ours whose names begin with ISTIO_: tests of this package
// need no closed list.
func OwnISTIO(s Snapshot) Ownership {
	own := Ownership{Chains: map[ChainName]bool{}}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			if strings.HasPrefix(c.Name, "ISTIO_") {
				own.Chains[ChainName{t.Name, c.Name}] = true
			}
		}
	}
	return own
}

// PlanISTIO is Plan with that ownership.
func PlanISTIO(s Snapshot, want Ruleset) Change { return Plan(s, OwnISTIO(s), want) }
