package netutil

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ErrOwnNetNS says that a file is the network namespace of this process or of the machine.
var ErrOwnNetNS = errors.New("it is the network namespace of the machine")

// CheckPodNetNS returns an error unless a file is a network namespace, and one that is neither
// that of this process nor, where that may be seen, that of the machine's init process.
func CheckPodNetNS(path string) error {
	file, err := openRegular(path)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, notNetNS(err))
	}
	defer file.Close()
	// Not of nsfs: ENOTTY. Of another kind of namespace: another number.
	if kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return fmt.Errorf("network namespace %s: it is not the file of a network namespace", path)
	}
	theirs, err := file.Stat()
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	for _, own := range []string{"/proc/self/ns/net", "/proc/1/ns/net"} {
		if ours, err := os.Stat(own); err == nil && os.SameFile(theirs, ours) {
			return fmt.Errorf("network namespace %s: %w", path, ErrOwnNetNS)
		}
	}
	return nil
}

// InNewNetNS calls fn on a thread that is inside a new network namespace, which ends with it, and
// returns its error. Otherwise it is as [InNetNS]. It needs CAP_SYS_ADMIN.
func InNewNetNS(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make a network namespace %s: %w", needs(unix.CAP_SYS_ADMIN, "SYS_ADMIN", "", err), err)
			return
		}
		done <- fn()
	}()
	return <-done
}
