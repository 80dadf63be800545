package netutil

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Powers are what the calling thread may do with sockets.
type Powers struct {
	// UID and GID own the sockets that it makes, for the owner match of rules.
	UID, GID uint32
	// SetUID and SetGID: [AsOwner] can make sockets of other users, other groups
	// (CAP_SETUID, CAP_SETGID).
	SetUID, SetGID bool
	// Raw: a [Socket] can have a mark and be transparent (CAP_NET_ADMIN or
	// CAP_NET_RAW; net/core/sock.c, SO_MARK; net/ipv4/ip_sockglue.c, IP_TRANSPARENT).
	Raw bool
}

// overflowID is how an id is shown that a user namespace does not know
// (user_namespaces(7)).
const overflowID = 65534

// SocketPowers returns those of the calling thread in its network namespace. One
// that belongs to another user namespace maps ids by that namespace, so that no thread of
// ours can own a socket as one of its users.
func SocketPowers() (Powers, error) {
	owner, err := OwnerUserNS()
	if err != nil {
		return Powers{}, err
	}
	p := Powers{Raw: HasCap(unix.CAP_NET_ADMIN) || HasCap(unix.CAP_NET_RAW)}
	if owner != nil {
		p.UID, p.GID = overflowID, overflowID
		return p, owner.Close()
	}
	p.UID, p.GID = fsID(unix.SetfsuidRetUid), fsID(unix.SetfsgidRetGid)
	p.SetUID, p.SetGID = HasCap(unix.CAP_SETUID), HasCap(unix.CAP_SETGID)
	return p, nil
}

// fsID asks for an id by setting one that does not exist, which changes nothing
// (setfsuid(2)).
func fsID(set func(int) (int, error)) uint32 {
	id, _ := set(-1) // it returns the id and never an error
	return uint32(id)
}

// AsOwner calls fn on a thread whose sockets belong to a user and a group, for the
// owner match: that looks at the credentials with which the file of a socket was
// made (net/netfilter/xt_owner.c). A socket that is accepted belongs to the thread
// that accepts it. The thread is the calling one, so it stays in its network
// namespace; other threads keep their ids, and this one has its own back when
// AsOwner returns. Where it cannot be given them back it ends with its goroutine.
//
// Other ids than those of the thread need CAP_SETUID and CAP_SETGID.
func AsOwner(uid, gid uint32, fn func() error) (err error) {
	runtime.LockOSThread() // unlocked only once the thread has its ids back
	homeUID, homeGID := fsID(unix.SetfsuidRetUid), fsID(unix.SetfsgidRetGid)
	defer func() {
		back := errors.Join(become("group", unix.SetfsgidRetGid, homeGID), become("user", unix.SetfsuidRetUid, homeUID))
		if back != nil {
			err = errors.Join(err, fmt.Errorf("take back the owner of sockets (the thread ends): %w", back))
			return
		}
		runtime.UnlockOSThread()
	}()
	if err := become("group", unix.SetfsgidRetGid, gid); err != nil {
		return err
	}
	if err := become("user", unix.SetfsuidRetUid, uid); err != nil {
		return err
	}
	return fn()
}

// become sets the id of one kind and makes sure of it: the kernel reports nothing.
func become(kind string, set func(int) (int, error), id uint32) error {
	if fsID(set) == id {
		return nil
	}
	_, _ = set(int(id)) // it never returns an error
	if fsID(set) != id {
		return fmt.Errorf("make sockets of %s %d (needs CAP_SETUID or CAP_SETGID, and the id in this user namespace): %w", kind, id, unix.EPERM)
	}
	return nil
}
