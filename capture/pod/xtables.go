package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A variant is one variant of iptables.
type variant struct {
	variant    xtables.Variant
	config     xtables.Config
	generation uint32 // of nf_tables, before it was read; zero: not known
	report     func(Event)

	kernel *xtables.Kernel // what Read has read
}

// xtables returns both variants of iptables, and why the legacy one cannot be read though
// it may have rules.
func (e Engine) xtables(seen netutil.Netfilter, lock *os.File) (backends []Backend, noLegacy, err error) {
	config := xtables.Config{Held: lock, Caps: netutil.ChildCaps(), Path: e.Path, Env: e.Env, Now: e.Now, Owner: infer.Ownership}
	if config.UserNS, err = netutil.OwnerUserNS(); err != nil {
		return nil, nil, err
	}
	config.OwnLock = netutil.NeedsOwnLock(e.LockFile, e.Outside || config.UserNS != nil)
	tables := [...]inet.PerFamily[[]string]{xtables.NFT: seen.NFT, xtables.Legacy: seen.Legacy}
	no := [...]error{xtables.NFT: seen.NoNFT, xtables.Legacy: seen.NoLegacy}
	if seen.LegacyHidden {
		noLegacy = seen.NoLegacy
		if noLegacy == nil {
			config.LegacyByName = []string{iptables.Raw, iptables.Mangle, iptables.NAT}
			for f := range tables[xtables.Legacy] {
				tables[xtables.Legacy][f] = config.LegacyByName
			}
		}
	}
	for _, v := range xtables.Variants {
		x := &variant{variant: v, config: config, generation: seen.Generation, report: e.Report}
		for other := range xtables.Variants {
			x.config.No[other] = errNotThis
		}
		x.config.Tables[v], x.config.No[v] = tables[v], no[v]
		backends = append(backends, x)
	}
	return backends, noLegacy, nil
}

// errNotThis keeps a variant from looking for the programs of the other.
var errNotThis = errors.New("the other variant")

// Name returns "nft" or "legacy".
func (x *variant) Name() Name { return Name(x.variant.String()) }

// Read starts a program for each family that has tables.
func (x *variant) Read(ctx context.Context) State {
	x.kernel = xtables.Survey(ctx, x.config)[x.variant]
	return x.state()
}

func (x *variant) state() State {
	s := State{Backend: x}
	for _, f := range inet.Families {
		s.Families[f] = FamilyState{Present: x.kernel.Present(f), Rules: x.kernel.State(f), Own: x.kernel.Own(f), Err: x.kernel.Err(f), Transient: x.kernel.Transient(f)}
	}
	return s
}

// Identify asks iptables, by its check command.
func (x *variant) Identify(ctx context.Context, _ State, want Rules) (State, []Unidentified, error) {
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
func (x *variant) Plan(_ State, want Rules) (Change, error) {
	var change Change
	var errs []error
	for _, rs := range want {
		c, err := x.kernel.Plan(rs)
		if err != nil && (len(rs.Tables) > 0 || len(want.captured()) == 0) {
			errs = append(errs, err)
		}
		if !c.Empty() {
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
func (x *variant) text(c iptables.Change) string {
	program := strings.Replace(xtables.SaveTool(c.Family), "-save", "-restore", 1)
	text := fmt.Sprintf("# input for %s --noflush, variant %s\n%s", program, x.variant, xtables.Script(c))
	if x.variant != xtables.NFT {
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
func (x *variant) Commit(ctx context.Context, c Change) error {
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
func (x *variant) Revert(ctx context.Context, c Change) error {
	err := x.kernel.Revert(ctx, c.Families)
	x.deleteEmpty(c, iptables.Change.Made)
	return err
}

var errNotWhole = errors.New("tables have something else besides")

// deleteWhole deletes the tables of a change that leaves nothing in them, unless nf_tables
// has changed since it was read.
func (x *variant) deleteWhole(c Change) error {
	if x.variant != xtables.NFT || slices.ContainsFunc(c.Families, func(c iptables.Change) bool { return !c.EmptiesAllTables() }) {
		return errNotWhole
	}
	var tables inet.PerFamily[[]netutil.NFTTable]
	for _, c := range c.Families {
		for _, name := range c.Emptied() {
			tables[c.Family] = append(tables[c.Family], netutil.NFTTable{Name: name, Chains: c.Before.ChainNames(name)})
		}
	}
	return netutil.RemoveNFTTables(tables, x.generation)
}

// deleteEmpty deletes tables of nf_tables that have nothing in them. One that stays is no
// failure: it is empty.
func (x *variant) deleteEmpty(c Change, which func(iptables.Change) []string) {
	if x.variant != xtables.NFT {
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
