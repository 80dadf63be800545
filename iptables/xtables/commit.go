package xtables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Commit makes the changes or none of them. Each table changes as a whole or not
// at all; when one is refused, what was changed before it is put back. The errors
// are [RestoreError] and name the refused line; a [RevertError] says that something
// could not be put back.
func (b *Backend) Commit(ctx context.Context, changes []iptables.Change) error {
	err := b.commitFamilies(ctx, changes)
	if err == nil {
		return nil
	}
	if back := b.Revert(ctx, changes); back != nil {
		return errors.Join(err, back)
	}
	return fmt.Errorf("%w; the rules are as they were before", err)
}

// revertTime bounds Revert, which has to have time when the run has none left.
const revertTime = 10 * time.Second

// Revert restores our chains and rules to the state before the changes. Foreign rules stay
// as they are now. The error is a [RevertError].
func (b *Backend) Revert(ctx context.Context, changes []iptables.Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revertTime)
	defer cancel()
	var all []*process
	saves := map[inet.Family][]*process{}
	for _, c := range changes {
		saves[c.Family] = b.newSaves(c.Family, c.After.TableNames()...)
		all = append(all, saves[c.Family]...)
	}
	runAll(ctx, all)
	var back []iptables.Change
	for _, c := range changes {
		now, err := readSaves(c.Family, saves[c.Family])
		if err != nil {
			return &RevertError{err}
		}
		if undo := iptables.Rollback(now, b.owns(now), c); !undo.Empty() {
			back = append(back, undo)
		}
	}
	if err := b.commitFamilies(ctx, back); err != nil {
		return &RevertError{err}
	}
	return nil
}

// commitFamilies runs one process for each family, and both at the same time
// where that is safe: with nft, deleting chains of both families at once makes
// one of the two start over and lose.
func (b *Backend) commitFamilies(ctx context.Context, changes []iptables.Change) error {
	if b.variant == Legacy || !slices.ContainsFunc(changes, iptables.Change.RemovesChains) {
		return b.commit(ctx, changes)
	}
	for _, c := range changes {
		if err := b.commit(ctx, []iptables.Change{c}); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) commit(ctx context.Context, changes []iptables.Change) error {
	var processes []*process
	for _, c := range changes {
		args := []string{"--noflush"}
		if b.variant == Legacy {
			args = append(args, fmt.Sprintf("--wait=%d", b.lockWaitIn(ctx)))
		}
		p := b.newProcess(b.families[c.Family].restore, args...)
		p.stdin, p.mute = Script(c), true
		processes = append(processes, p)
	}
	runAll(ctx, processes)
	var errs []error
	for i, p := range processes {
		if p.err != nil {
			errs = append(errs, newRestoreError(changes[i].Family, b.variant, p))
		}
	}
	return errors.Join(errs...)
}
