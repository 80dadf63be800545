package netutil

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LockNetNS takes the lock of the network namespace that this program holds while
// it looks and changes, so that two runs never work on what the other is about to
// change. It is on the namespace itself: runs in other namespaces do not wait, and
// no writable path is needed. It is held until the file is closed by all who have
// it open: a program that is given the file keeps the lock when the one that
// started it is killed. The error says who is meant when it cannot be had in time.
func LockNetNS(ctx context.Context) (*os.File, error) {
	file, err := openNetNS()
	if err != nil {
		return nil, fmt.Errorf("lock the network namespace: %w", err)
	}
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil { // nobody else is here
		return file, nil
	}
	if err := lockFile(ctx, file, unix.LOCK_EX); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("another run works on it: %w", err)
		}
		return nil, fmt.Errorf("lock the network namespace: %w", err)
	}
	return file, nil
}

// lockFile waits for a lock and closes the file where it cannot be had in time.
func lockFile(ctx context.Context, file *os.File, how int) error {
	locked := make(chan error, 1)
	go func() { // flock(2) is of the file, not of a thread or its namespace
		for {
			err := unix.Flock(int(file.Fd()), how)
			if !errors.Is(err, unix.EINTR) {
				locked <- err
				return
			}
		}
	}()
	select {
	case err := <-locked:
		if err != nil {
			_ = file.Close()
		}
		return err
	case <-ctx.Done():
		go func() { // release a lock that comes after the deadline
			<-locked //nolint:errcheck // had or not, the file is closed
			_ = file.Close()
		}()
		return context.Cause(ctx)
	}
}

// xtablesLock is the lock file that all users of iptables-legacy share by default.
const xtablesLock = "/run/xtables.lock"

// NeedsOwnLock reports whether iptables-legacy should lock a file that only this process
// and its children have, since the common lock file cannot be had or should not be
// taken. From outside a pod it should not: every pod of the node would wait for it,
// though each has tables of its own.
//
// named is the lock file of the variable XTABLES_LOCKFILE, which is left to the
// administrator, unless it is the namespace, which [LockNetNS] holds; "": none.
func NeedsOwnLock(named string, outside bool) bool {
	if named != "" {
		return isNetNS(named)
	}
	return outside || !canLock(xtablesLock)
}

// LockXTables takes the lock of iptables-legacy, shared with other runs of this program: no
// program that takes it changes rules meanwhile. It returns nil where the lock cannot be had
// within wait. named and outside are those of [NeedsOwnLock].
//
// From outside a pod it waits only for a program in the current network namespace: one in
// another namespace changes other tables.
func LockXTables(ctx context.Context, wait time.Duration, named string, outside bool) *os.File {
	if isNetNS(named) {
		return nil
	}
	path := cmp.Or(named, xtablesLock)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600) // it may be a FIFO
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), path)
	switch {
	case unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == nil:
		return file
	case outside && !heldHere(file):
		_ = file.Close()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := lockFile(ctx, file, unix.LOCK_SH); err != nil {
		return nil
	}
	return file
}

// heldHere reports whether a process in the current network namespace is known to hold a lock
// on a file (proc_locks(5)).
func heldHere(file *os.File) bool {
	var at unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &at); err != nil {
		return false
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(at.Dev), unix.Minor(at.Dev), at.Ino)
	locks, _ := os.ReadFile("/proc/locks") // not there: nobody is known
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK  ADVISORY  WRITE 712 00:1a:942 0 EOF; one that waits has "->" before FLOCK.
		words := strings.Fields(line)
		const kind, pid, of = 1, 4, 5
		if len(words) > of && words[kind] == "FLOCK" && words[of] == inode && isNetNS("/proc/"+words[pid]+"/ns/net") {
			return true
		}
	}
	return false
}

// isNetNS reports whether a file is the network namespace we are in.
func isNetNS(path string) bool {
	named, err := os.Stat(path)
	if err != nil {
		return false
	}
	ours, err := os.Stat("/proc/thread-self/ns/net")
	return err == nil && os.SameFile(named, ours)
}

// canLock reports whether iptables can open or create the lock file.
func canLock(path string) bool {
	err := unix.Access(path, unix.W_OK)
	if errors.Is(err, unix.ENOENT) {
		err = unix.Access("/run", unix.W_OK)
	}
	return err == nil
}
