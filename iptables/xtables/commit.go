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
//
// alone reports whether nobody else has changed nf_tables since [Config].Seen. Of the legacy
// variant it is not known, and true.
func (b *Backend) Commit(ctx context.Context, changes []iptables.Change) (alone bool, err error) {
	before := b.nowAt()
	started, err := b.commitFamilies(ctx, changes)
	after := b.nowAt()
	untouched := !started || before != 0 && after == before
	if err == nil && before != 0 && after-before < transactions(changes) {
		err = b.idle(ctx, changes, untouched)
	}
	switch {
	case err == nil:
		return b.seen == before && after-before == transactions(changes) || before == 0, nil
	case untouched:
		return b.seen == before, fmt.Errorf("%w; no rule was changed", err)
	}
	if back := b.Revert(ctx, changes); back != nil {
		return b.seen == before, errors.Join(err, back)
	}
	return b.seen == before, fmt.Errorf("%w; the rules are as they were before", err)
}

// nowAt returns the generation of nf_tables; zero: it is not known, or of no use.
func (b *Backend) nowAt() uint32 {
	if b.generation == nil {
		return 0
	}
	return b.generation()
}

// transactions returns by how much the generation of nf_tables rises: the restore programs
// make one transaction of each table (measured with 1.8.9).
func transactions(changes []iptables.Change) uint32 {
	n := 0
	for _, c := range changes {
		n += len(c.Edits)
	}
	return uint32(n)
}

// idle returns an error where a restore program has ended well and changed nothing. untouched
// says that this is known of all.
func (b *Backend) idle(ctx context.Context, changes []iptables.Change, untouched bool) error {
	var now inet.PerFamily[iptables.Snapshot]
	if !untouched {
		var err error
		if now, err = b.readAfter(ctx, changes); err != nil {
			return err
		}
	}
	for _, c := range changes {
		live := now[c.Family]
		if untouched || iptables.Rollback(live, b.owns(live), c).Empty() {
			return &IdleError{b.families[c.Family].restore}
		}
	}
	return nil
}

const (
	// revertTime bounds Revert, which has to have time when the run has none left.
	revertTime = 10 * time.Second
	// revertAttempts bound it where others change what was just read.
	revertAttempts = 5
)

// Revert restores our chains and rules to the state before the changes. Foreign rules stay
// as they are now. The error is a [RevertError].
func (b *Backend) Revert(ctx context.Context, changes []iptables.Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revertTime)
	defer cancel()
	var err error
	for range revertAttempts {
		if err = b.revert(ctx, changes); err == nil {
			return nil
		}
		if _, refused := errors.AsType[*RestoreError](err); !refused {
			break
		}
	}
	return &RevertError{err}
}

func (b *Backend) revert(ctx context.Context, changes []iptables.Change) error {
	now, err := b.readAfter(ctx, changes)
	if err != nil {
		return err
	}
	var back []iptables.Change
	for _, c := range changes {
		live := now[c.Family]
		if undo := iptables.Rollback(live, b.owns(live), c); !undo.Empty() {
			back = append(back, undo)
		}
	}
	_, err = b.commitFamilies(ctx, back)
	return err
}

// readAfter reads the families of changes that were made, or not.
func (b *Backend) readAfter(ctx context.Context, changes []iptables.Change) (inet.PerFamily[iptables.Snapshot], error) {
	var all []*process
	var saves inet.PerFamily[[]*process]
	for _, c := range changes {
		saves[c.Family] = b.newSaves(c.Family, c.After.TableNames()...)
		all = append(all, saves[c.Family]...)
	}
	runAll(ctx, all)
	var now inet.PerFamily[iptables.Snapshot]
	var err error
	for _, c := range changes {
		if now[c.Family], err = b.readSaves(ctx, c.Family, saves[c.Family], c.After.TableNames()...); err != nil {
			return now, err
		}
	}
	return now, nil
}

// commitFamilies runs one process for each family, and both at the same time
// where that is safe: with nft, deleting chains of both families at once makes
// one of the two start over and lose.
//
// started reports whether a process was: otherwise nothing was changed.
func (b *Backend) commitFamilies(ctx context.Context, changes []iptables.Change) (started bool, err error) {
	if b.variant == Legacy || !slices.ContainsFunc(changes, iptables.Change.RemovesChains) {
		return b.commit(ctx, changes)
	}
	for _, c := range changes {
		ran, err := b.commit(ctx, []iptables.Change{c})
		started = started || ran
		if err != nil {
			return started, err
		}
	}
	return started, nil
}

func (b *Backend) commit(ctx context.Context, changes []iptables.Change) (started bool, err error) {
	var processes []*process
	for _, c := range changes {
		if err := writable(c); err != nil {
			return false, err
		}
		p := b.newProcess(b.families[c.Family].restore, append([]string{"--noflush"}, b.waitForLock(ctx)...)...)
		p.stdin, p.mute = Script(c), true
		processes = append(processes, p)
	}
	runAll(ctx, processes)
	var errs []error
	for i, p := range processes {
		started = started || p.started()
		if p.err != nil {
			refused := newRestoreError(changes[i].Family, b.variant, p)
			if refused.Foreign = b.foreignRefused(ctx, changes[i], refused, p.stdin); len(refused.Foreign) > 0 {
				refused.Needs = nil
			}
			errs = append(errs, refused)
		}
	}
	return started, errors.Join(errs...)
}
