package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// A variant is one variant of iptables as a [Backend].
type variant struct {
	*xtables.Backend
	variant    xtables.Variant
	generation uint32                   // of nf_tables, before it was read; zero: not known
	native     *native                  // whose changes of nf_tables are no others'
	disturbed  bool                     // others have changed nf_tables since then
	listed     inet.PerFamily[[]string] // tables, by the kernel's list
	notLoaded  inet.PerFamily[error]
	report     func(Event)
}

// xtables returns both variants of iptables, and why the legacy one cannot be read though
// it may have rules.
func (e Engine) xtables(ctx context.Context, seen netutil.Netfilter, lock *os.File, n *native) (backends []Backend, noLegacy, err error) {
	config := xtables.Config{Held: lock, Caps: netutil.ChildCaps(), Path: e.Path, Env: e.Env, Now: e.Now, Owner: infer.Ownership}
	if config.UserNS, err = netutil.OwnerUserNS(); err != nil {
		return nil, nil, err
	}
	outside := e.Outside || config.UserNS != nil
	config.OwnLock = netutil.NeedsOwnLock(e.LockFile, outside)
	nft, legacy := config, config
	nft.Tables, nft.No = seen.NFT, seen.NoNFT
	nft.Generation, nft.Seen = n.byOthers, seen.Generation
	legacy.Tables, legacy.No = seen.Legacy, seen.NoLegacy
	if lock != nil && e.mayChangeLegacy(seen) {
		if legacy.Common = netutil.LockXTables(ctx, e.lockWait(ctx), e.LockFile, outside); legacy.Common != nil {
			legacy.OwnLock = true // or the programs would wait for us
		}
	}
	listed := [...]inet.PerFamily[[]string]{xtables.NFT: seen.NFT, xtables.Legacy: seen.Legacy}
	if seen.LegacyHidden {
		noLegacy = seen.NoLegacy
		if noLegacy == nil {
			legacy.ByName = []string{iptables.Raw, iptables.Mangle, iptables.NAT}
			legacy.Tables = inet.PerFamily[[]string]{legacy.ByName, legacy.ByName}
		}
	}
	for v, config := range [...]xtables.Config{xtables.NFT: nft, xtables.Legacy: legacy} {
		v := xtables.Variant(v)
		x := &variant{Backend: xtables.New(ctx, v, config), variant: v, generation: seen.Generation, native: n, listed: listed[v], report: e.Report}
		if v == xtables.Legacy {
			x.notLoaded = seen.NoXTables
		}
		backends = append(backends, x)
	}
	return backends, noLegacy, nil
}

// mayChangeLegacy reports whether a run may change rules of the legacy variant.
func (e Engine) mayChangeLegacy(seen netutil.Netfilter) bool {
	has := seen.LegacyHidden || len(slices.Concat(seen.Legacy[:]...)) > 0
	return seen.NoLegacy == nil && (has || e.Force == Legacy || seen.NoNFT != nil)
}

// lockWait returns for how long the common lock is waited for. Most of the time is left
// for the programs, which say why they cannot have it.
func (e Engine) lockWait(ctx context.Context) time.Duration {
	const most = 10 * time.Second
	deadline, ok := ctx.Deadline()
	if !ok || e.Now == nil {
		return most
	}
	return min(most, deadline.Sub(e.Now())/4)
}

// Name returns "nft" or "legacy".
func (x *variant) Name() Name { return Name(x.variant.String()) }

// Read starts a program for each family that has tables. What it does not print, though the
// kernel lists a table, is unknown and not empty.
func (x *variant) Read(ctx context.Context) State {
	s := State{Backend: x, notLoaded: x.notLoaded}
	for f, live := range x.Backend.Read(ctx) {
		if live.Err == nil {
			live.Err = x.unprinted(live.Rules)
			live.Transient = live.Err
		}
		s.Families[f] = FamilyState(live).withUnprinted(inet.Family(f))
	}
	return s
}

// unprinted returns which table was not printed, though it is there.
func (x *variant) unprinted(printed iptables.Snapshot) error {
	for _, name := range x.listed[printed.Family] {
		if !slices.Contains(iptables.Tables[:], name) || slices.Contains(printed.TableNames(), name) || slices.Contains(printed.Unreadable, name) {
			continue
		}
		if x.variant == xtables.NFT { // it may be gone meanwhile, or have nothing in it
			if chains, err := netutil.NFTChains(printed.Family, name); err != nil || len(chains) == 0 {
				return err
			}
		}
		return fmt.Errorf("%s of the variant %s does not print the table %s, which the kernel has", xtables.SaveTool(printed.Family), x.variant, name)
	}
	return nil
}

// Identify asks iptables, by its check command.
func (x *variant) Identify(ctx context.Context, have State, want Rules) (State, []Unidentified, error) {
	var unidentified []Unidentified
	for f, rs := range want {
		live, unasked, err := x.Backend.Identify(ctx, xtables.FamilyState(have.Families[f]), rs)
		if err != nil {
			return State{}, nil, err
		}
		have.Families[f] = FamilyState(live)
		for _, r := range unasked {
			unidentified = append(unidentified, Unidentified{rs.Family, r})
		}
	}
	return have, unidentified, nil
}

// Plan plans each family by itself.
func (x *variant) Plan(have State, want Rules) (Change, error) {
	var change Change
	var errs []error
	for f, rs := range want {
		c, err := xtables.Plan(x.variant, xtables.FamilyState(have.Families[f]), rs)
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
		lines = append(lines, "nft delete table "+family+" "+table+" # if nothing else is in it")
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
	alone, err := x.Backend.Commit(ctx, c.Families)
	x.disturbed = x.disturbed || !alone
	if err != nil {
		x.deleteEmpty(c, iptables.Change.Made)
		return err
	}
	x.deleteEmpty(c, iptables.Change.Emptied)
	return nil
}

// Revert runs the restore programs for what is different from before.
func (x *variant) Revert(ctx context.Context, c Change) error {
	err := x.Backend.Revert(ctx, c.Families)
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
	return netutil.RemoveNFTTables(tables, x.generation+x.native.commits)
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
