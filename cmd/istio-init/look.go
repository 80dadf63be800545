package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// kernels are the live states of both variants of iptables.
type kernels = [len(iptables.Variants)]*iptables.Kernel

// A live is what the namespace holds.
type live struct {
	kernels kernels
	native  []string // tables of Istio's own nft program
	blind   error    // why the legacy variant was not looked at, though it may hold rules
	// generation is the state of nf_tables that this is; zero: not known.
	generation uint32
}

// lost tells that looking failed, though not for good: then nothing is changed,
// since rules that were not seen may need what would be taken away.
func (l live) lost() error {
	var errs []error
	for _, k := range l.kernels {
		if err := k.Lost(); err != nil {
			errs = append(errs, fmt.Errorf("look at the rules that are there (%s): %w", k.Variant(), err))
		}
	}
	return errors.Join(errs...)
}

// hidden tells whether a family has rules that cannot be looked at, since the programs
// for them are not installed.
func (l live) hidden(f inet.Family) bool {
	return slices.ContainsFunc(l.kernels[:], func(k *iptables.Kernel) bool { return k.Hides(f) })
}

// survey looks at the namespace. What cannot be looked at is warned of.
func (inv *invocation) survey(ctx context.Context, held *os.File) (live, error) {
	seen := netutil.LookAtNetfilter(capture.NativeTablePrefix)
	if errors.Is(seen.NoNFT, os.ErrPermission) {
		return live{}, fmt.Errorf("look at the packet filter (needs the capability NET_ADMIN in the network namespace): %w", seen.NoNFT)
	}
	look, err := inv.look()
	if err != nil {
		return live{}, err
	}
	look.Held = held
	look.Tables[iptables.NFT], look.No[iptables.NFT] = seen.NFT, seen.NoNFT
	look.Tables[iptables.Legacy], look.No[iptables.Legacy] = seen.Legacy, seen.NoLegacy
	if seen.LegacyHidden {
		lookByName(&look)
	}
	found := live{kernels: iptables.Survey(ctx, look), native: seen.Native, generation: seen.Generation}
	if seen.LegacyHidden {
		found.blind = look.No[iptables.Legacy]
	}
	for _, k := range found.kernels {
		if err := k.Unseen(); err != nil {
			inv.log.Warn("rules are there that cannot be looked at", namedField("variant", k.Variant()), errorField(err))
		}
	}
	return found, nil
}

// identify has iptables say which unreadable rules are the wanted ones, and returns what
// to tell of those that it could not be asked about.
func identify(ctx context.Context, k *iptables.Kernel, want []iptables.Ruleset) ([]string, error) {
	var caveats []string
	for _, rs := range want {
		unasked, err := k.Identify(ctx, rs)
		if err != nil {
			return nil, err
		}
		for _, r := range unasked {
			caveats = append(caveats, unreadableText(rs.Family, r)+": iptables was not asked, since "+r.Unasked)
		}
	}
	return caveats, nil
}

func unreadableText(f inet.Family, r iptables.UnreadableRule) string {
	return fmt.Sprintf("%s: unreadable rule in %s %s: %q counts as different from the wanted %q", f, r.Table, r.Chain, r.Text, r.Wanted)
}

// look says how programs are run in the namespace.
func (inv *invocation) look() (look iptables.Look, err error) {
	look.Caps = netutil.ChildCaps()
	if look.UserNS, err = netutil.OwnerUserNS(); err != nil {
		return look, err
	}
	look.OwnLock = netutil.NeedsOwnLock(inv.set.CNIMode || look.UserNS != nil)
	return look, nil
}

// lookByName has the legacy variant looked at by a user who may not list its
// tables: one by one, which makes those that are not there. Not looking would be
// worse: where an earlier run used it, another would redirect a second time.
func lookByName(look *iptables.Look) {
	if look.No[iptables.Legacy] != nil {
		return
	}
	look.LegacyByName = []string{iptables.Raw, iptables.Mangle, iptables.NAT}
	for f := range look.Tables[iptables.Legacy] {
		look.Tables[iptables.Legacy][f] = look.LegacyByName
	}
}

// refuseHost refuses to redirect the traffic of a whole machine.
func (inv *invocation) refuseHost() error {
	if inv.set.AllowHost {
		return nil
	}
	why, err := netutil.LooksLikeHost()
	if err == nil && why != "" {
		err = fmt.Errorf("this seems to be the network namespace of a machine and not of a pod: %s; "+
			"--allow-host-network says that it is meant", why)
	}
	return err
}
