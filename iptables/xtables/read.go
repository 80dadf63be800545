package xtables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A FamilyState is the live rules of one family of a variant.
type FamilyState struct {
	Present   bool               // it has tables
	Rules     iptables.Snapshot  // empty where Err is set
	Own       iptables.Ownership // our chains and rules of them
	Err       error              // why it cannot be read or changed
	Transient error              // Err, where the next attempt may succeed: a program was killed
	Unprinted []*NFTRulesError   // what is known of the tables in Rules.Unreadable
}

// Read reads the rules of both families. It starts one iptables-save for each family that
// has tables, both at once, and none in a namespace that no packet filter was used in. It
// changes nothing.
func (b *Backend) Read(ctx context.Context) inet.PerFamily[FamilyState] {
	var states inet.PerFamily[FamilyState]
	var saves inet.PerFamily[[]*process]
	for _, f := range inet.Families {
		p := b.families[f]
		states[f] = FamilyState{Present: p.present, Rules: iptables.Snapshot{Family: f}, Err: p.err}
		if p.present && p.err == nil {
			saves[f] = b.newSaves(f)
		}
	}
	runAll(ctx, slices.Concat(saves[:]...))
	for _, f := range inet.Families {
		if len(saves[f]) == 0 {
			continue
		}
		s := &states[f]
		s.Rules, s.Err = b.readSaves(ctx, f, saves[f])
		s.Own = b.owns(s.Rules)
		if !b.byName { // else the kernel may not have the table
			s.Transient = s.Err
		}
	}
	return states
}

func (b *Backend) owns(s iptables.Snapshot) iptables.Ownership {
	if b.owner == nil {
		return iptables.Ownership{}
	}
	return b.owner(s)
}

// newSaves prepares what prints the rules of a family: one program, or one for each table
// where the program may not list them. made are tables that exist besides.
func (b *Backend) newSaves(f inet.Family, made ...string) []*process {
	p := b.families[f]
	if !b.unlisted {
		return []*process{b.newProcess(p.save)}
	}
	var saves []*process
	names := slices.Clone(p.tables)
	for _, t := range made {
		if !slices.Contains(names, t) {
			names = append(names, t)
		}
	}
	for _, table := range names {
		saves = append(saves, b.newProcess(p.save, "-t", table))
	}
	return saves
}

// readSaves takes what the programs of newSaves printed, made being the same. It runs them again
// where the first use of a table by another program came between: there are so many tables at most.
func (b *Backend) readSaves(ctx context.Context, f inet.Family, saves []*process, made ...string) (iptables.Snapshot, error) {
	have, err := parseSaves(f, saves)
	for n := 1; n < len(iptables.Tables) && errors.Is(err, iptables.ErrTableTwice); n++ {
		again := b.newSaves(f, made...)
		runAll(ctx, again)
		have, err = parseSaves(f, again)
	}
	return have, err
}

func parseSaves(f inet.Family, saves []*process) (iptables.Snapshot, error) {
	var text strings.Builder
	for _, p := range saves {
		if p.err != nil {
			return iptables.Snapshot{Family: f}, fmt.Errorf("%s: %w: %s", p.path, p.err, p.stderrText())
		}
		text.Write(p.stdout)
	}
	have, err := iptables.ParseSnapshot(f, text.String())
	if err != nil {
		err = fmt.Errorf("%s: %w", SaveTool(f), err)
	}
	return have, err
}
