package netutil

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OwnerUserNS returns the user namespace that owns the network namespace, or nil
// when it is the one we are in, or one above it that we may not see. The kernel
// takes rules that name users only from inside it (net/netfilter/xt_owner.c,
// owner_check).
func OwnerUserNS() (*os.File, error) {
	net, err := openNetNS()
	if err != nil {
		return nil, fmt.Errorf("find the owner of the network namespace: %w", err)
	}
	defer net.Close()
	fd, err := unix.IoctlRetInt(int(net.Fd()), unix.NS_GET_USERNS)
	if errors.Is(err, unix.EPERM) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the owner of the network namespace: %w", err)
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	theirs, err := owner.Stat()
	if err != nil {
		return nil, errors.Join(err, owner.Close())
	}
	ours, err := os.Stat("/proc/self/ns/user")
	if err != nil || os.SameFile(theirs, ours) {
		return nil, errors.Join(err, owner.Close())
	}
	return owner, nil
}
