package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// An xtables is one variant of iptables.
type xtables struct {
	variant    iptables.Variant
	look       iptables.Look
	generation uint32 // of nf_tables, before it was read; zero: not known
	report     func(Event)

	kernel *iptables.Kernel // what Read has read
}

// xtables returns both variants of iptables, and why the legacy one cannot be read though
// it may have rules.
func (e Engine) xtables(seen netutil.Netfilter, lock *os.File) (backends []Backend, noLegacy, err error) {
	look := iptables.Look{Held: lock, Caps: netutil.ChildCaps()}
	if look.UserNS, err = netutil.OwnerUserNS(); err != nil {
		return nil, nil, err
	}
	look.OwnLock = netutil.NeedsOwnLock(e.Outside || look.UserNS != nil)
	tables := [...]inet.PerFamily[[]string]{iptables.NFT: seen.NFT, iptables.Legacy: seen.Legacy}
	no := [...]error{iptables.NFT: seen.NoNFT, iptables.Legacy: seen.NoLegacy}
	if seen.LegacyHidden {
		noLegacy = seen.NoLegacy
		if noLegacy == nil {
			look.LegacyByName = []string{iptables.Raw, iptables.Mangle, iptables.NAT}
			for f := range tables[iptables.Legacy] {
				tables[iptables.Legacy][f] = look.LegacyByName
			}
		}
	}
	for _, v := range iptables.Variants {
		x := &xtables{variant: v, look: look, generation: seen.Generation, report: e.Report}
		for other := range iptables.Variants {
			x.look.No[other] = errNotThis
		}
		x.look.Tables[v], x.look.No[v] = tables[v], no[v]
		backends = append(backends, x)
	}
	return backends, noLegacy, nil
}

// errNotThis keeps a variant from looking for the programs of the other.
var errNotThis = errors.New("the other variant")

// Name returns "nft" or "legacy".
func (x *xtables) Name() Name { return Name(x.variant.String()) }

// Read starts a program for each family that has tables.
func (x *xtables) Read(ctx context.Context) State {
	x.kernel = iptables.Survey(ctx, x.look)[x.variant]
	return x.state()
}

func (x *xtables) state() State {
	s := State{Backend: x}
	for _, f := range inet.Families {
		s.Families[f] = FamilyState{Present: x.kernel.Present(f), Rules: x.kernel.State(f), Err: x.kernel.Err(f), Transient: x.kernel.Transient(f)}
	}
	return s
}

// Identify asks iptables, by its check command.
func (x *xtables) Identify(ctx context.Context, _ State, want Rules) (State, []Unidentified, error) {
	var unidentified []Unidentified
	for _, rs := range want {
		unasked, err := x.kernel.Identify(ctx, rs)
		if err != nil {
			return State{}, nil, err
		}
		for _, r := range unasked {
			unidentified = append(unidentified, Unidentified{rs.Family, r})
		}
	}
	return x.state(), unidentified, nil
}

// Plan plans each family by itself.
func (x *xtables) Plan(_ State, want Rules) (Change, error) {
	var change Change
	var errs []error
	for _, rs := range want {
		c, err := x.kernel.Plan(rs)
		if err != nil && (len(rs.Tables) > 0 || len(want.captured()) == 0) {
			errs = append(errs, err)
		}
		if c.Script != "" {
			change.Families = append(change.Families, c)
			change.Text += x.text(c)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Change{}, err
	}
	return change, nil
}

// text returns the input of the restore program, and the tables that are removed after it.
func (x *xtables) text(c iptables.Change) string {
	program := strings.Replace(iptables.SaveTool(c.Family), "-save", "-restore", 1)
	text := fmt.Sprintf("# input for %s --noflush, variant %s\n%s", program, x.variant, c.Script)
	if x.variant != iptables.NFT {
		return text
	}
	family := inet.PerFamily[string]{"ip", "ip6"}[c.Family]
	var lines []string
	for _, table := range c.Emptied() {
		lines = append(lines, "nft delete table "+family+" "+table)
	}
	return text + comments(lines...)
}

// Commit runs the restore programs. Where nothing but ours is in tables of nf_tables, these
// are deleted as a whole: iptables-nft needs a process for each family, one after the
// other, and each deletion waits for the kernel to be done with packets on their way (12 to
// 15 ms). Tables that the change has emptied, or made in vain, are deleted.
func (x *xtables) Commit(ctx context.Context, c Change) error {
	if x.deleteWhole(c) == nil {
		return nil
	}
	if err := x.kernel.Commit(ctx, c.Families); err != nil { // also says what is wrong
		x.deleteEmpty(c, iptables.Change.Made)
		return err
	}
	x.deleteEmpty(c, iptables.Change.Emptied)
	return nil
}

// Revert runs the restore programs for what is different from before.
func (x *xtables) Revert(ctx context.Context, c Change) error {
	err := x.kernel.Revert(ctx, c.Families)
	x.deleteEmpty(c, iptables.Change.Made)
	return err
}

var errNotWhole = errors.New("tables have something else besides")

// deleteWhole deletes the tables of a change that leaves nothing in them, unless nf_tables
// has changed since it was read.
func (x *xtables) deleteWhole(c Change) error {
	if x.variant != iptables.NFT || slices.ContainsFunc(c.Families, func(c iptables.Change) bool { return !c.Whole() }) {
		return errNotWhole
	}
	var tables inet.PerFamily[[]netutil.NFTTable]
	for _, c := range c.Families {
		for _, name := range c.Emptied() {
			tables[c.Family] = append(tables[c.Family], netutil.NFTTable{Name: name, Chains: c.Before.Chains(name)})
		}
	}
	return netutil.RemoveNFTTables(tables, x.generation)
}

// deleteEmpty deletes tables of nf_tables that have nothing in them. One that stays is no
// failure: it is empty.
func (x *xtables) deleteEmpty(c Change, which func(iptables.Change) []string) {
	if x.variant != iptables.NFT {
		return
	}
	var names inet.PerFamily[[]string]
	for _, c := range c.Families {
		names[c.Family] = which(c)
	}
	if _, err := netutil.RemoveEmptyNFTTables(names); err != nil {
		x.report(TablesStay{err})
	}
}
