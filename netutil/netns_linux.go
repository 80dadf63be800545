package netutil

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namedNetNS is where "ip netns add" keeps namespaces (ip-netns(8)).
const namedNetNS = "/run/netns"

// NetNSPath returns the file of a network namespace from its path, or from the
// name that "ip netns" knows it by. "" stays "": where we are.
func NetNSPath(nameOrPath string) string {
	if nameOrPath == "" || strings.Contains(nameOrPath, "/") {
		return nameOrPath
	}
	return filepath.Join(namedNetNS, nameOrPath)
}

// openNetNS opens the network namespace of the calling thread. Unlike [os.Open] it does
// not have the runtime watch a file that there is nothing to wait for at.
func openNetNS() (*os.File, error) {
	const path = "/proc/thread-self/ns/net"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// InNetNS calls fn on a thread that is inside the network namespace of that
// file and returns its error. "" means where we are: then nothing is entered and
// no capability is needed; else CAP_SYS_ADMIN is.
//
// Processes that fn starts inherit the namespace; goroutines do not, so fn must
// not start one that relies on it. The calling goroutine stays where it was. A
// thread that cannot be brought back ends with its goroutine, so that nothing
// else ever runs in a namespace it did not ask for.
func InNetNS(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	done := make(chan error, 1)
	go func() { done <- onNetNSThread(path, fn) }()
	return <-done
}

// openNamespace opens the file of a network namespace. To open a FIFO would block, so the
// open does not wait, and other kinds of files than those of namespaces are refused.
func openNamespace(path string) (netns.NsHandle, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	var file unix.Stat_t
	if err := unix.Fstat(fd, &file); err != nil || file.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(fd)
		return -1, errors.Join(err, fmt.Errorf("%s is not the file of a network namespace", path))
	}
	return netns.NsHandle(fd), nil
}

func onNetNSThread(path string, fn func() error) (err error) {
	runtime.LockOSThread() // unlocked only once the thread is back
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the current network namespace: %w", err)
	}
	defer home.Close()
	target, err := openNamespace(path)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer target.Close()
	if err := netns.Set(target); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s %s: %w", path, needs(unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", err), err)
	}
	defer func() {
		if back := netns.Set(home); back != nil {
			err = errors.Join(err, fmt.Errorf("leave network namespace %s (the thread ends): %w", path, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return fn()
}
