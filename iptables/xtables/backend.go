package xtables

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A Config says which tables a variant has, and how its programs are run. The zero Config
// runs them as root, finds them in the directories of the system, and has no tables.
type Config struct {
	Tables inet.PerFamily[[]string] // tables that exist
	No     error                    // why the variant cannot be used; nil: it can
	// ByName are the tables that are read one by one, by a user who may not list them.
	// Reading makes those that do not exist. None: they can be listed.
	ByName []string
	// Held is the lock file of the network namespace. Programs inherit it, so that it is
	// locked for as long as they run, also when this process is killed; nil: none.
	Held *os.File
	// Common is the common lock file of the legacy variant, where the caller has locked it:
	// nobody changes rules from the look to the change. Programs inherit it, and
	// [Backend.Close] closes it; nil: the programs lock it.
	Common *os.File
	// OwnLock says that the common lock file is of no use, so that the legacy variant
	// has to lock one that nobody else has.
	OwnLock bool
	// UserNS is the user namespace that owns the network namespace, where it is not
	// the current one. Programs are run inside it by nsenter(1): Go cannot enter one,
	// since its programs have several threads. [Backend.Close] closes it.
	UserNS *os.File
	// Caps are the capabilities that programs have to be given when they are
	// started; none for root.
	Caps []uintptr
	// Path is where programs are searched first, as PATH has it; "": only in the
	// directories of the system.
	Path string
	// Env is added to the environment of programs, which inherit nothing; [Env] makes it.
	Env []string
	// Generation returns the number of the state of nf_tables, which rises with each
	// transaction; zero: not known. nil: of no use, as for the legacy variant. Seen is what
	// it returned before Tables were listed.
	Generation func() uint32
	Seen       uint32
	// Owner finds our chains and rules in a live state; nil: there are none.
	Owner iptables.OwnerOf
	// Now is the clock. By it iptables-legacy waits for its lock no longer than the context
	// lasts; nil: it waits up to 20 seconds.
	Now func() time.Time
}

// A Backend runs the programs of one variant. It has no state: [Backend.Read] returns the
// live rules. Its methods that take a context start processes: call them from the
// goroutine that entered the namespace.
type Backend struct {
	variant Variant
	owner   iptables.OwnerOf
	now     func() time.Time // nil: without a clock

	generation func() uint32 // nil: of no use
	seen       uint32

	env      []string
	caps     []uintptr
	unlisted bool       // the programs cannot list the tables
	byName   bool       // the kernel may lack tables that are read by name
	prefix   []string   // program and arguments that run the variant's programs
	files    []*os.File // that they get
	owned    []*os.File // those of them that Close closes
	families inet.PerFamily[programs]
}

// Programs are those of one family.
type programs struct {
	save, restore string   // absolute paths
	tables        []string // that exist, or are read by name
	present       bool     // the family has tables
	err           error    // why there are none
}

// New returns the backend of a variant. It finds the programs; what is missing is an error
// of its family, once it is needed.
func New(ctx context.Context, v Variant, cfg Config) *Backend {
	b, err := newBackend(v, cfg)
	for _, f := range inet.Families {
		p := &b.families[f]
		p.tables, p.present, p.err = cfg.Tables[f], len(cfg.Tables[f]) > 0, err
		if cfg.No != nil {
			p.err = cfg.No
		}
		if len(cfg.ByName) > 0 {
			p.tables = cfg.ByName
		}
		if p.err == nil {
			p.save, p.restore, p.err = cfg.findTools(ctx, v, f)
		}
	}
	return b
}

// Programs returns the names of the programs that change rules.
func (b *Backend) Programs() []string {
	var names []string
	for _, p := range b.families {
		names = append(names, filepath.Base(p.restore))
	}
	return names
}

// newBackend says how the programs of a variant are run.
func newBackend(v Variant, cfg Config) (*Backend, error) {
	b := &Backend{variant: v, owner: cfg.Owner, now: cfg.Now, generation: cfg.Generation, seen: cfg.Seen, env: cfg.env(), caps: cfg.Caps, byName: len(cfg.ByName) > 0}
	// In another user namespace the list of tables may belong to our root.
	b.unlisted = b.byName || v == Legacy && cfg.UserNS != nil
	pass := func(file *os.File) string { // the path by which a child opens it
		b.files = append(b.files, file)
		return fmt.Sprintf("/proc/self/fd/%d", 2+len(b.files))
	}
	if cfg.Held != nil {
		pass(cfg.Held)
	}
	if cfg.Common != nil {
		b.owned = append(b.owned, cfg.Common)
		pass(cfg.Common)
	}
	if cfg.UserNS != nil {
		b.owned = append(b.owned, cfg.UserNS)
		nsenter := cfg.lookPath("nsenter")
		if nsenter == "" {
			return b, fmt.Errorf("the network namespace belongs to another user namespace, which nsenter (package util-linux) enters: %w", exec.ErrNotFound)
		}
		b.prefix = []string{nsenter, "--user=" + pass(cfg.UserNS), "--"}
	}
	if v == Legacy && cfg.OwnLock { // whatever the administrator says
		lock, err := memoryFile("xtables.lock")
		if err != nil {
			return b, err
		}
		b.owned = append(b.owned, lock)
		b.env = append(b.env, LockFile+"="+pass(lock)) // of two values os/exec takes the last
	}
	return b, nil
}

// Close closes the files that only the backend's programs use: [Config].UserNS, which
// another backend may have closed, and a lock of its own.
func (b *Backend) Close() { closeAll(b.owned...) }

// newProcess prepares a run of one of the variant's programs.
func (b *Backend) newProcess(path string, args ...string) *process {
	words := slices.Concat(b.prefix, []string{path}, args)
	return &process{path: words[0], args: words[1:], env: b.env, caps: b.caps, files: b.files}
}

// lockWait is for how many seconds the legacy variant waits for another program
// that holds the lock; nft has no lock.
const lockWait = 20

// waitForLock returns the option by which the variant waits for its lock.
func (b *Backend) waitForLock(ctx context.Context) []string {
	if b.variant == NFT {
		return nil
	}
	return []string{fmt.Sprintf("--wait=%d", b.lockWaitIn(ctx))}
}

// lockWaitIn returns for how many seconds iptables may wait for the lock. It ends half a
// second before the context does, so that iptables gives up first and says why. It is at least
// 1: for 0 iptables 1.8.9 waits for ever.
func (b *Backend) lockWaitIn(ctx context.Context) int {
	deadline, ok := ctx.Deadline()
	if !ok || b.now == nil {
		return lockWait
	}
	return min(lockWait, max(1, int((deadline.Sub(b.now())-time.Second/2).Seconds())))
}
