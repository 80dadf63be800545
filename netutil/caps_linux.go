package netutil

import (
	"os"

	"golang.org/x/sys/unix"
)

// HasCap tells whether the calling thread has a capability in effect
// (capabilities(7); unix.CAP_NET_ADMIN and others).
func HasCap(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// ChildCaps returns the capabilities that a program started by us has to be
// given: those of the packet filter that we have, unless we are root, whose
// programs have all. A program of another user has none by itself, also where our
// own file gave them to us.
func ChildCaps() []uintptr {
	if os.Geteuid() == 0 {
		return nil
	}
	var caps []uintptr
	for _, c := range []int{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW} {
		if HasCap(c) {
			caps = append(caps, uintptr(c))
		}
	}
	return caps
}
