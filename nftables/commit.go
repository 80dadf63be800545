package nftables

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"istio-init/netutil"
)

// Commit makes the changes: packets meet the old rules or the new ones, of both families in one
// transaction, after another one if a change is staged. It fails with ERESTART, and nothing is
// changed, when nf_tables is no longer of the generation that was read; zero: whatever our
// tables are now is replaced in one transaction. The error of a refusal names the rule.
func Commit(changes []Change, generation uint32) error {
	if generation == 0 || !Staged(changes) {
		b := batchOf(changes, generation == 0)
		return b.commit(generation)
	}
	var first batch
	for _, c := range changes {
		first.extend(c.Before.Table, c.prepared())
	}
	if err := first.commit(generation); err != nil {
		return err
	}
	if complete(changes) == nil {
		return nil
	}
	err := Commit(changes, 0) // others have changed our tables in between, or keep changing nf_tables
	if err != nil {
		back := slices.Clone(changes)
		for i := range back {
			back[i].After = changes[i].Before.Table
		}
		err = errors.Join(err, Commit(back, 0))
	}
	return err
}

// Staged reports whether a change takes two transactions; see [Change.Staged].
func Staged(changes []Change) bool { return slices.ContainsFunc(changes, Change.Staged) }

// complete makes the second transaction of changes, with the handles that the first has given.
func complete(changes []Change) error {
	const attempts = 5
	for n := 1; ; n++ {
		generation := netutil.NFTGeneration()
		var b batch
		for _, c := range changes {
			live, err := Read(c.After.Family)
			if err != nil {
				return err
			}
			if !live.Equal(c.prepared()) {
				return unix.ERESTART
			}
			b.complete(c, live)
		}
		if err := b.commit(generation); !Contended(err) || n == attempts {
			return err
		}
	}
}

// Messages returns the transaction of the changes.
func Messages(changes []Change) []netutil.NFTMessage { return batchOf(changes, false).messages }

// Contended reports whether a change failed, and changed nothing, since others are changing
// nf_tables.
func Contended(err error) bool {
	return errors.Is(err, unix.ERESTART) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EBUSY)
}
