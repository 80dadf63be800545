package netutil

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	locked := make(chan error, 1)
	go func() { // flock(2) is of the file, not of a thread or its namespace
		for {
			err := unix.Flock(int(file.Fd()), unix.LOCK_EX)
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
			return nil, fmt.Errorf("lock the network namespace: %w", err)
		}
		return file, nil
	case <-ctx.Done():
		go func() { // release a lock that comes after the deadline
			<-locked //nolint:errcheck // had or not, the file is closed
			_ = file.Close()
		}()
		return nil, fmt.Errorf("lock the network namespace: another run works on it: %w", context.Cause(ctx))
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
