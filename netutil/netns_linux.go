package netutil

import (
	"errors"
	"fmt"
	"io"
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

// openNetNS opens the network namespace of the calling thread.
func openNetNS() (*os.File, error) { return openUnwatched("/proc/thread-self/ns/net") }

// openUnwatched opens a file of the kernel for reading. Unlike [os.Open] it does not have the
// runtime watch a file that there is nothing to wait for at.
func openUnwatched(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func readUnwatched(path string) ([]byte, error) {
	file, err := openUnwatched(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
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

// notNetNS says of an error that a file is of another kind.
func notNetNS(err error) error {
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		err = failed.Err // the path is said already
	}
	if errors.Is(err, errNotRegular) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("it is not the file of a network namespace: %w", err)
	}
	return err
}

// A NetNSError is why a network namespace could not be entered.
type NetNSError struct {
	op, path string
	err      error
}

func (e *NetNSError) Error() string {
	return fmt.Sprintf("%s network namespace %s: %v", e.op, e.path, e.err)
}

func (e *NetNSError) Unwrap() error { return e.err }

func onNetNSThread(path string, fn func() error) (err error) {
	runtime.LockOSThread() // unlocked only once the thread is back
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the current network namespace: %w", err)
	}
	defer home.Close()
	target, err := openRegular(path)
	if err != nil {
		runtime.UnlockOSThread()
		return &NetNSError{"open", path, notNetNS(err)}
	}
	defer target.Close()
	if err := netns.Set(netns.NsHandle(target.Fd())); err != nil {
		runtime.UnlockOSThread()
		if !errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w %s", err, needs(unix.CAP_SYS_ADMIN, "SYS_ADMIN", "", err))
		}
		return &NetNSError{"enter", path, notNetNS(err)}
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
