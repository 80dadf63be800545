package pod

import (
	"slices"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// withUnprinted adds what is known of the tables of nf_tables that iptables could not print.
// Where chains of ours are in one, the family counts as unreadable.
func (s FamilyState) withUnprinted(f inet.Family) FamilyState {
	for _, name := range s.Rules.Unreadable {
		table, err := readUnprinted(s.Rules, name)
		s.Unprinted = append(s.Unprinted, table)
		if err == nil && len(table.Ours) > 0 {
			err = table
		}
		if s.Err == nil {
			s.Err = err
		}
	}
	if s.Err != nil {
		s.Rules, s.Own = iptables.Snapshot{Family: f}, iptables.Ownership{}
	}
	return s
}

// readUnprinted asks nf_tables about a table that iptables could not print.
func readUnprinted(s iptables.Snapshot, table string) (u *xtables.NFTRulesError, err error) {
	u = &xtables.NFTRulesError{Table: table}
	there, err := netutil.NFTChains(s.Family, table)
	if err != nil {
		return u, err
	}
	u.Ours = ownChains(s, table, there)
	u.Chains, err = netutil.UnprintableChains(s.Family, table)
	return u, err
}

// A MisprintedChain has rules that nft has made and that iptables prints without a condition.
type MisprintedChain struct {
	Family inet.Family
	Table  string
	Chain  string // "": the table has more rules than are inspected
}

// maxInspected is how many rules of a table are inspected at most: by netlink, 25,000 take
// 40 percent of what iptables-nft-save takes.
const maxInspected = 5000

// Misprinted returns the chains of a state that are not as they were read.
func (s State) Misprinted() (chains []MisprintedChain, err error) {
	if s.Backend.Name() != NFT {
		return nil, nil
	}
	for _, f := range inet.Families {
		live := s.Families[f].Rules
		for _, t := range live.Tables {
			if (iptables.Snapshot{Tables: []iptables.LiveTable{t}}).Rules() > maxInspected {
				chains = append(chains, MisprintedChain{Family: f, Table: t.Name})
				continue
			}
			names, err := netutil.MisprintedChains(f, t.Name)
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if !slices.ContainsFunc(t.Chains, func(c iptables.LiveChain) bool { return c.Name == name }) {
					continue // a base chain of others, which iptables does not print at all
				}
				chains = append(chains, MisprintedChain{f, t.Name, name})
			}
		}
	}
	return chains, nil
}

// ownChains returns those chains of a table that are ours. The rest of the state has what
// else says whose they are.
func ownChains(s iptables.Snapshot, table string, chains []string) []string {
	live := iptables.LiveTable{Name: table}
	for _, name := range chains {
		live.Chains = append(live.Chains, iptables.LiveChain{Name: name, Policy: "-"})
	}
	s.Tables = append(slices.Clip(s.Tables), live)
	own := infer.Ownership(s)
	return slices.DeleteFunc(chains, func(name string) bool { return !own.Has(table, name) })
}
