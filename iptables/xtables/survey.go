package xtables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Variant is one of the two kernel interfaces behind the name iptables.
type Variant uint8

// The variants, in the order of preference.
const (
	NFT    Variant = iota // xtables rules in nf_tables
	Legacy                // the xtables of old
)

// Variants are both variants in their order.
var Variants = [...]Variant{NFT, Legacy}

// String returns "nft" or "legacy".
func (v Variant) String() string {
	if v == Legacy {
		return "legacy"
	}
	return "nft"
}

// UnmarshalText takes "nft" or "legacy".
func (v *Variant) UnmarshalText(text []byte) error {
	for _, known := range Variants {
		if string(text) == known.String() {
			*v = known
			return nil
		}
	}
	return errors.New("is not legacy or nft")
}

// A Config tells which tables exist, and how to run programs. The zero Config runs them as
// root, finds them in /usr/sbin and /sbin, and knows of no tables.
type Config struct {
	Tables [len(Variants)]inet.PerFamily[[]string] // tables that exist, by variant and family
	No     [len(Variants)]error                    // why a variant cannot be used; nil: it can
	// LegacyByName are the tables of the legacy variant to read one by one, for a
	// user who may not list them. Reading a table creates it. None: they can be listed.
	LegacyByName []string
	// Held is the lock under which all this is done. Programs get it, so that it
	// is held for as long as they run, also when we are killed; nil: none.
	Held *os.File
	// OwnLock says that the common lock file is of no use, so that the legacy variant
	// has to lock one that nobody else has.
	OwnLock bool
	// UserNS is the user namespace that owns the network namespace when it is not
	// our own; nil: it is. Programs are run inside it by nsenter(1): Go cannot
	// enter one, since its programs have several threads.
	UserNS *os.File
	// Caps are the capabilities that programs have to be given when they are
	// started; none for root.
	Caps []uintptr
	// Path is where programs are looked for, as PATH has it; "": only in /usr/sbin and /sbin.
	Path string
	// Env is added to the environment of programs, which inherit nothing; [Env] makes it.
	Env []string
	// Owner finds out what of a live state is ours; nil: nothing is.
	Owner iptables.OwnerOf
	// Now is the clock. By it iptables-legacy waits for its lock no longer than the context
	// lasts; nil: it waits up to 20 seconds.
	Now func() time.Time
}

// Survey looks at the live state of both variants and both families. It starts
// one iptables-save for each that has tables, all at once, and none in a
// namespace that no packet filter was used in; nothing is changed. What cannot
// be read is an error only once it is asked for.
func Survey(ctx context.Context, cfg Config) [len(Variants)]*Kernel {
	var kernels [len(Variants)]*Kernel
	var all []*process
	var reads []func()
	for _, v := range Variants {
		k, err := newKernel(v, cfg)
		kernels[v] = k
		for _, f := range inet.Families {
			s := &k.sides[f]
			s.have, s.present = iptables.Snapshot{Family: f}, len(cfg.Tables[v][f]) > 0
			if s.err = cmp.Or(cfg.No[v], err); s.err == nil {
				s.save, s.restore, s.err = cfg.findTools(ctx, v, f)
			}
			switch {
			case v == Legacy && len(cfg.LegacyByName) > 0:
				k.unlisted, s.byName = true, cfg.LegacyByName
			case v == Legacy && cfg.UserNS != nil: // the list may belong to our root
				k.unlisted, s.byName = true, cfg.Tables[v][f]
			}
			if !s.present || s.err != nil {
				continue
			}
			saves := k.newSaves(f)
			all = append(all, saves...)
			reads = append(reads, func() {
				s.have, s.err = readSaves(f, saves)
				s.own = k.owns(s.have)
				if len(cfg.LegacyByName) == 0 || v == NFT { // else the kernel may not have the table
					s.lost = s.err
				}
			})
		}
	}
	runAll(ctx, all)
	for _, read := range reads {
		read()
	}
	return kernels
}

// newKernel says how the programs of a variant are run.
func newKernel(v Variant, cfg Config) (*Kernel, error) {
	k := &Kernel{variant: v, owner: cfg.Owner, now: cfg.Now, env: cfg.env(), caps: cfg.Caps}
	switch {
	case len(cfg.Caps) > 0:
		k.unaskable = "iptables would need capabilities that only its other programs are given"
	case cfg.UserNS != nil:
		k.unaskable = "the network namespace belongs to another user namespace"
	case v == Legacy && cfg.OwnLock:
		k.unaskable = "iptables would need a lock file that only its other programs are given"
	}
	pass := func(file *os.File) string { // the path by which a child opens it
		k.files = append(k.files, file)
		return fmt.Sprintf("/proc/self/fd/%d", 2+len(k.files))
	}
	if cfg.Held != nil {
		pass(cfg.Held)
	}
	if cfg.UserNS != nil {
		nsenter := cfg.lookPath("nsenter")
		if nsenter == "" {
			return k, fmt.Errorf("the network namespace belongs to another user namespace, which nsenter (package util-linux) enters: %w", exec.ErrNotFound)
		}
		k.prefix = []string{nsenter, "--user=" + pass(cfg.UserNS), "--"}
	}
	if v == Legacy && cfg.OwnLock { // whatever the administrator says
		lock, err := memoryFile("xtables.lock")
		if err != nil {
			return k, err
		}
		k.env = append(k.env, LockFile+"="+pass(lock)) // of two values os/exec takes the last
	}
	return k, nil
}

// newSaves prepares what prints the state of a family: one program, or one for
// each table where the program may not find out by itself which there are.
func (k *Kernel) newSaves(f inet.Family, made ...string) []*process {
	s := &k.sides[f]
	if !k.unlisted {
		return []*process{k.newProcess(s.save)}
	}
	var saves []*process
	names := slices.Clone(s.byName)
	for _, t := range made {
		if !slices.Contains(names, t) {
			names = append(names, t)
		}
	}
	for _, table := range names {
		saves = append(saves, k.newProcess(s.save, "-t", table))
	}
	return saves
}

// readSaves takes what the programs of newSaves printed.
func readSaves(f inet.Family, saves []*process) (iptables.Snapshot, error) {
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
