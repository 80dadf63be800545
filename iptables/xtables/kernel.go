package xtables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// lockWait is for how many seconds the legacy variant waits for another program
// that holds the lock; nft has no lock.
const lockWait = 20

// lockWaitIn returns for how many seconds iptables may wait for the lock. It ends half a
// second before the context does, so that iptables gives up first and says why; 0: not at all.
func (k *Kernel) lockWaitIn(ctx context.Context) int {
	deadline, ok := ctx.Deadline()
	if !ok || k.now == nil {
		return lockWait
	}
	return min(lockWait, max(0, int((deadline.Sub(k.now())-time.Second/2).Seconds())))
}

// A Kernel is the live state of one variant, as [Survey] saw it, and the way to
// change it. Its methods that take a context start processes: call them from the
// goroutine that entered the namespace.
type Kernel struct {
	variant  Variant
	owner    iptables.OwnerOf
	now      func() time.Time // nil: without a clock
	env      []string
	caps     []uintptr
	unlisted bool // the programs cannot list the tables
	// unaskable is why Identify cannot run iptables as the other programs are run; "": it can.
	unaskable string
	prefix    []string   // program and arguments that run the variant's programs
	files     []*os.File // that they get
	sides     [len(inet.Families)]side
}

// A side is one family of a variant.
type side struct {
	save, restore string   // absolute paths
	present       bool     // it has tables
	byName        []string // its tables, where the programs cannot list them
	have          iptables.Snapshot
	own           iptables.Ownership // what of it is ours
	err           error              // why it cannot be read or written
	lost          error              // why the program failed that reads it
}

func (k *Kernel) owns(s iptables.Snapshot) iptables.Ownership {
	if k.owner == nil {
		return iptables.Ownership{}
	}
	return k.owner(s)
}

// Variant returns the variant of the kernel.
func (k *Kernel) Variant() Variant { return k.variant }

// State returns the state of a family as [Survey] saw it.
func (k *Kernel) State(f inet.Family) iptables.Snapshot { return k.sides[f].have }

// Own returns the owned part of the state of a family.
func (k *Kernel) Own(f inet.Family) iptables.Ownership { return k.sides[f].own }

func (k *Kernel) name(f inet.Family) string { return f.String() + " " + k.variant.String() }

// Plan returns the change that makes ours what is wanted, from the state that
// [Survey] saw. Wanting nothing of a family that is not there is no error.
func (k *Kernel) Plan(want iptables.Ruleset) (iptables.Change, error) {
	s := k.sides[want.Family]
	nothing := iptables.Change{Family: want.Family, Before: s.have, After: s.have, Own: s.own}
	if err := want.Validate(); err != nil {
		return nothing, err
	}
	if len(want.Tables) == 0 && !s.present {
		return nothing, nil
	}
	if s.err != nil {
		return nothing, fmt.Errorf("%s: %w", k.name(want.Family), s.err)
	}
	for _, t := range want.Tables {
		if slices.Contains(s.have.Unreadable, t.Name) {
			return nothing, fmt.Errorf("%s: table %s holds rules made by nft itself, which iptables can neither print nor add to: "+
				"remove them, or use the other variant (--force-iptables-binary)", k.name(want.Family), t.Name)
		}
	}
	if foreign := s.foreign(want); len(foreign) > 0 {
		return nothing, fmt.Errorf("%s: chains of these names are there and are not ours: %s", k.name(want.Family), strings.Join(foreign, ", "))
	}
	return iptables.Plan(s.have, s.own, want), nil
}

// foreign returns the wanted chains that are there and are not ours, as "TABLE CHAIN".
func (s side) foreign(want iptables.Ruleset) []string {
	var names []string
	for _, t := range want.Tables {
		for _, live := range s.have.Table(t.Name).Chains {
			wanted := slices.ContainsFunc(t.Chains, func(c iptables.Chain) bool { return c.Name == live.Name })
			if wanted && live.Policy == "-" && !s.own.Has(t.Name, live.Name) {
				names = append(names, t.Name+" "+live.Name)
			}
		}
	}
	return names
}

// Commit makes the changes or none of them. Each table changes as a whole or not
// at all; when one is refused, what was changed before it is put back. The errors
// are [RestoreError] and name the refused line.
func (k *Kernel) Commit(ctx context.Context, changes []iptables.Change) error {
	err := k.commitFamilies(ctx, changes)
	if err == nil {
		return nil
	}
	if back := k.Revert(ctx, changes); back != nil {
		return errors.Join(err, back)
	}
	return fmt.Errorf("%w; the rules are as they were before", err)
}

// revertTime bounds Revert, which has to have time when the run has none left.
const revertTime = 10 * time.Second

// Revert restores our chains and rules to the state before the changes. Foreign rules stay
// as they are now.
func (k *Kernel) Revert(ctx context.Context, changes []iptables.Change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revertTime)
	defer cancel()
	var all []*process
	saves := map[inet.Family][]*process{}
	for _, c := range changes {
		saves[c.Family] = k.newSaves(c.Family, c.After.TableNames()...)
		all = append(all, saves[c.Family]...)
	}
	runAll(ctx, all)
	var back []iptables.Change
	for _, c := range changes {
		now, err := readSaves(c.Family, saves[c.Family])
		if err != nil {
			return fmt.Errorf("put the rules back: %w", err)
		}
		if undo := iptables.Rollback(now, k.owns(now), c); undo.Script != "" {
			back = append(back, undo)
		}
	}
	if err := k.commitFamilies(ctx, back); err != nil {
		return fmt.Errorf("put the rules back: %w", err)
	}
	return nil
}

// commitFamilies runs one process for each family, and both at the same time
// where that is safe: with nft, deleting chains of both families at once makes
// one of the two start over and lose.
func (k *Kernel) commitFamilies(ctx context.Context, changes []iptables.Change) error {
	if k.variant == Legacy || !slices.ContainsFunc(changes, func(c iptables.Change) bool { return deletesChains(c.Script) }) {
		return k.commit(ctx, changes)
	}
	for _, c := range changes {
		if err := k.commit(ctx, []iptables.Change{c}); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kernel) commit(ctx context.Context, changes []iptables.Change) error {
	var processes []*process
	for _, c := range changes {
		args := []string{"--noflush"}
		if k.variant == Legacy {
			args = append(args, fmt.Sprintf("--wait=%d", k.lockWaitIn(ctx)))
		}
		p := k.newProcess(k.sides[c.Family].restore, args...)
		p.stdin, p.mute = c.Script, true
		processes = append(processes, p)
	}
	runAll(ctx, processes)
	var errs []error
	for i, p := range processes {
		if p.err != nil {
			errs = append(errs, newRestoreError(changes[i].Family, k.variant, p))
		}
	}
	return errors.Join(errs...)
}

// newProcess prepares a run of one of the variant's programs.
func (k *Kernel) newProcess(path string, args ...string) *process {
	words := slices.Concat(k.prefix, []string{path}, args)
	return &process{path: words[0], args: words[1:], env: k.env, caps: k.caps, files: k.files}
}

func deletesChains(script string) bool { return strings.Contains(script, "\n-X ") }
