package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// runClean removes what is ours, of both variants and families.
func runClean(inv *invocation) error {
	if inv.set.SkipApply {
		inv.log.Info("nothing removed, as --skip-rule-apply says")
		return nil
	}
	return inv.change(inv.clean)
}

func (inv *invocation) clean(ctx context.Context, found live) error {
	var errs []error
	if found.blind != nil {
		inv.log.Warn("rules of the legacy variant may be there and are not cleaned", errorField(found.blind))
	}
	if inv.set.DryRun {
		return inv.previewClean(found)
	}
	stay := false
	for _, k := range found.kernels {
		_, err := inv.cleanKernel(ctx, k, found.generation)
		var refused *iptables.RestoreError
		stay = stay || errors.As(err, &refused) || k.Unseen() != nil
		errs = append(errs, err)
	}
	errs = append(errs, inv.removeNative(found.native))
	if stay { // rules that stay need their routes
		return errors.Join(errs...)
	}
	var done undoStack // what could be removed stays removed
	errs = append(errs,
		inv.removeRoutes(&done, map[inet.Family]netutil.TProxyRoute{inet.IPv4: {}, inet.IPv6: {}}),
		inv.passthroughV6(&done, false))
	if stays, _, err := netutil.FindLoopbackAddr(passthroughV6); err == nil && stays {
		inv.log.Warn(passthroughV6.String() + "/128 stays on lo, since it was not added by us; Istio adds it and never removes it")
	}
	return errors.Join(errs...)
}

// cleanKernel removes what is ours from one variant. Also when something stays it
// returns how to put back what went.
func (inv *invocation) cleanKernel(ctx context.Context, k *iptables.Kernel, generation uint32) (undo func() error, err error) {
	r := &remover{Kernel: k, generation: generation}
	changes, err := capture.Clean(ctx, r)
	if err != nil {
		return nil, err
	}
	err = inv.unreadable(k)
	after := map[inet.Family]iptables.Snapshot{}
	for _, f := range inet.Families {
		after[f] = k.State(f)
	}
	for _, c := range changes {
		after[c.Family] = c.After
		inv.log.DebugText("script for "+iptables.SaveTool(c.Family), func() string { return c.Script })
		inv.reportTaken(c)
		inv.log.Info("rules removed", namedField("family", c.Family), namedField("variant", k.Variant()))
		inv.log.DebugText("Final iptables state ("+familyTitle(c.Family)+")", c.After.String)
	}
	if len(changes) == 0 && err == nil {
		inv.log.Info("nothing to remove", namedField("variant", k.Variant()))
	}
	for _, f := range inet.Families {
		if after[f].Ours() {
			err = errors.Join(err, fmt.Errorf("%s %s: chains of ours stay, empty, since rules of others jump to them: %s",
				f, k.Variant(), strings.Join(after[f].OurChains(), ", ")))
		}
	}
	if !r.whole {
		inv.removeEmptyTables(k, changes, iptables.Change.Emptied)
	}
	if len(changes) == 0 {
		return nil, err
	}
	return func() error { return k.Revert(ctx, changes) }, err
}

// A remover is a variant of iptables that rules are removed from. Where nothing but
// ours is in the tables of nf_tables, they go as a whole and at once: iptables-nft
// needs a process for each family, one after the other, and each deletion waits for
// the kernel to be done with the packets on their way (12 to 15 ms).
type remover struct {
	*iptables.Kernel
	generation uint32 // of nf_tables, that was looked at; zero: not known
	whole      bool   // the tables went as a whole
}

// Commit makes the changes or none of them.
func (r *remover) Commit(ctx context.Context, changes []iptables.Change) error {
	var tables inet.PerFamily[[]netutil.NFTTable]
	r.whole = r.Variant() == iptables.NFT && !slices.ContainsFunc(changes, func(c iptables.Change) bool { return !c.Whole() })
	if r.whole {
		for _, c := range changes {
			for _, name := range c.Emptied() {
				tables[c.Family] = append(tables[c.Family], netutil.NFTTable{Name: name, Chains: c.Before.Chains(name)})
			}
		}
		r.whole = netutil.RemoveNFTTables(tables, r.generation) == nil
	}
	if r.whole {
		return nil
	}
	return r.Kernel.Commit(ctx, changes) // which also says what is wrong
}

// removeEmptyTables takes away tables of nf_tables that are of no use any more,
// where they hold nothing: those that a change made in vain, or in which there was
// nothing but what is ours. One that cannot be removed is no failure: it is empty.
func (inv *invocation) removeEmptyTables(kernel *iptables.Kernel, changes []iptables.Change, which func(iptables.Change) []string) {
	if kernel.Variant() != iptables.NFT {
		return
	}
	var names inet.PerFamily[[]string]
	for _, c := range changes {
		names[c.Family] = which(c)
	}
	if _, err := netutil.RemoveEmptyNFTTables(names); err != nil {
		inv.log.Debug("empty tables stay", errorField(err))
	}
}

// removeNative takes away what Istio's own nft program made.
func (inv *invocation) removeNative(tables []string) error {
	if len(tables) == 0 {
		return nil
	}
	if err := netutil.RemoveNativeTables(tables); err != nil {
		return err
	}
	inv.log.Info("tables of Istio's native nftables removed", listField("tables", tables))
	return nil
}

// unreadable tells of tables that iptables cannot print, since nft itself has put
// rules into them, and that hold chains of ours.
func (inv *invocation) unreadable(k *iptables.Kernel) error {
	if k.Variant() != iptables.NFT {
		return nil
	}
	var errs []error
	for _, f := range inet.Families {
		for _, table := range k.State(f).Unreadable() {
			ours, err := netutil.NFTChains(f, table, iptables.OwnPrefix)
			if err == nil && len(ours) > 0 {
				err = fmt.Errorf("%s nft: table %s holds rules made by nft itself, so iptables cannot print or change it, and chains of ours stay in it: %s",
					f, table, strings.Join(ours, ", "))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
