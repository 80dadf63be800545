package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
)

// A native backend has the rules in tables of nf_tables of their own, by netlink alone.
type native struct {
	no         error                // why it cannot work; nil: nothing
	has        inet.PerFamily[bool] // the families with a table of ours
	generation uint32               // of nf_tables, before that was found out
	commits    uint32               // how many changes were made: they are no changes by others
	live       []nftables.Live
}

// errStale says that somebody has changed our tables since they were read. Nothing was changed.
var errStale = errors.New("our tables of nf_tables have changed since they were read")

// Name returns "nftables".
func (*native) Name() Name { return NFTables }

// Read reads our tables.
func (n *native) Read(context.Context) State {
	s := State{Backend: n}
	n.live = make([]nftables.Live, len(inet.Families))
	for _, f := range inet.Families {
		live, err := nftables.Live{Table: nftables.Table{Family: f}}, n.no
		if err == nil && n.has[f] {
			live, err = nftables.Read(f)
		}
		n.live[f] = live
		s.Families[f] = FamilyState{Present: live.Present, Err: err}
		if n.no == nil && err != nil { // it may have rules, which the next attempt may read
			s.Families[f].Present, s.Families[f].Transient = true, err
		}
		if err == nil {
			s.Families[f].Rules = live.Ruleset().Snapshot()
			s.Families[f].Own = all(s.Families[f].Rules)
		}
		s.Families[f].Rules.Family = f
	}
	return s
}

// all owns everything: nobody else has a place in our tables.
func all(s iptables.Snapshot) iptables.Ownership {
	own := iptables.Ownership{Chains: map[iptables.ChainName]bool{}, Rules: map[iptables.Place]bool{}}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			if !slices.Contains(iptables.BuiltinChains(t.Name), c.Name) {
				own.Chains[iptables.ChainName{Table: t.Name, Chain: c.Name}] = true
				continue
			}
			for i := range c.Rules {
				own.Rules[iptables.Place{Table: t.Name, Chain: c.Name, Index: i}] = true
			}
		}
	}
	return own
}

// Identify has nothing to ask: a rule that cannot be expressed is none of ours.
func (*native) Identify(_ context.Context, have State, _ Rules) (State, []Unidentified, error) {
	return have, nil, nil
}

// Plan replaces the table of each family that differs.
func (n *native) Plan(have State, want Rules) (Change, error) {
	var change Change
	for f, rs := range want {
		if err := have.familyErr(rs.Family); err != nil && (len(rs.Tables) > 0 || len(want.captured()) == 0 && have.Families[f].Present) {
			return Change{}, err
		}
		wanted, err := nftables.Compile(rs)
		if err != nil {
			return Change{}, fmt.Errorf("%s: %w", rs.Family, err)
		}
		replaced := nftables.Plan(n.live[f:f+1], []nftables.Table{wanted})
		if len(replaced) == 0 {
			continue
		}
		change.native = append(change.native, replaced...)
		change.Families = append(change.Families, iptables.Plan(have.Families[f].Rules, have.Families[f].Own, wanted.Ruleset()))
		header := "# input for nft -f"
		if replaced[0].Staged() {
			header += ", which a run makes in two transactions"
		}
		change.Text += header + "\n" + replaced[0].String()
	}
	return change, nil
}

// Commit makes the change; see [nftables.Commit]. Where others have changed nf_tables since
// the look, but not our tables, it looks again. The last time it does not mind what others
// change elsewhere: only our tables are replaced.
func (n *native) Commit(ctx context.Context, c Change) error {
	generation := n.generation
	for look := 1; ; look++ {
		err := n.commit(c.native, generation)
		switch {
		case err == nil:
			return nil
		case !nftables.Contended(err) || ctx.Err() != nil || look > attempts:
			return fmt.Errorf("change nf_tables: %w", err)
		}
		if generation = netutil.NFTGeneration(); look == attempts {
			generation = 0
		}
		if err := unchanged(c.native); err != nil {
			return err
		}
	}
}

// unchanged returns errStale where our tables are no longer those from before changes.
func unchanged(changes []nftables.Change) error {
	for _, change := range changes {
		now, err := nftables.Read(change.After.Family)
		if err != nil {
			return err
		}
		if now.Present != change.Before.Present || !now.Equal(change.Before.Table) {
			return errStale
		}
	}
	return nil
}

// Revert puts back the tables from before a change, in place of what is there now.
func (n *native) Revert(_ context.Context, c Change) error {
	var back []nftables.Change
	generation := netutil.NFTGeneration()
	for _, change := range c.native {
		now, err := nftables.Read(change.After.Family)
		if err != nil {
			return err
		}
		back = append(back, nftables.Plan([]nftables.Live{now}, []nftables.Table{change.Before.Table})...)
	}
	err := n.commit(back, generation)
	if nftables.Contended(err) {
		err = n.commit(back, 0)
	}
	if err != nil {
		return fmt.Errorf("change nf_tables back: %w", err)
	}
	return nil
}

// commit makes changes and counts their transactions; see [nftables.Commit].
func (n *native) commit(changes []nftables.Change, generation uint32) error {
	err := nftables.Commit(changes, generation)
	if err == nil {
		n.commits++
		if generation != 0 && nftables.Staged(changes) {
			n.commits++
		}
	}
	return err
}

// Close has nothing to close.
func (*native) Close() {}

// byOthers returns the generation of nf_tables without the changes of this backend; zero: it is
// not known.
func (n *native) byOthers() uint32 {
	generation := netutil.NFTGeneration()
	if generation == 0 {
		return 0
	}
	return generation - n.commits
}
