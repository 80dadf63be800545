package main

import (
	"fmt"
	"net/netip"
	"strings"

	"istio-init/iptables"
	"istio-init/test/flow"
)

// who are the names of flows as a table has them.
var who = map[string]string{"app": "app (uid 1000)", "proxy": "proxy (uid 1337)", "peer": "peer (outside)"}

// connect makes the connections of flows, shows where they landed, and tells
// whether that is where they had to.
func (p *pod) connect(flows []flow.Flow) bool {
	asExpected := true
	rows := [][]string{{"WHO", "TO", "LANDED", "ORIGINAL DESTINATION"}}
	for _, family := range iptables.Families {
		for _, f := range flows {
			to := netip.AddrPortFrom(f.Dst(family), f.Port)
			if !to.Addr().IsValid() {
				continue
			}
			outcome, said := p.Observe(f, family)
			original, verdict := originalDst(said), ""
			if outcome != f.Outcome || strings.HasPrefix(f.Outcome, "proxy") && original != to.String() {
				asExpected, verdict = false, "WRONG, expected "+f.Outcome
			}
			rows = append(rows, []string{who[f.Who], f.Proto.String() + " " + to.String(), outcome, original, verdict})
		}
	}
	fmt.Print(align(rows))
	return asExpected
}

// originalDst is what the first proxy said it was asked for: "via PORT ADDRESS".
func originalDst(said string) string {
	first, _, _ := strings.Cut(said, "\n")
	if words := strings.Fields(first); len(words) == 3 && words[0] == "via" {
		return words[2]
	}
	return "-"
}

// connectDirect makes the connections again, which all have to be direct now.
func (p *pod) connectDirect(flows []flow.Flow) bool {
	made, direct := 0, 0
	for _, f := range flows {
		for _, family := range f.In(iptables.Families[:]) {
			made++
			if outcome, _ := p.Observe(f, family); outcome == "direct" {
				direct++
			} else {
				fmt.Printf("WRONG: %s (%s) is %s without rules\n", f.Line, family, outcome)
			}
		}
	}
	fmt.Printf("The same connections again: %d of %d are direct.\n", direct, made)
	return made == direct
}
