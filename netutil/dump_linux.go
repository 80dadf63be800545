package netutil

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// dumpTries is how often a listing is tried.
const dumpTries = 100

// complete repeats a listing that was interrupted: when somebody changes what is
// listed meanwhile, the kernel says that the answer may be of two states
// (linux/netlink.h, NLM_F_DUMP_INTR).
func complete[T any](list func() (T, error)) (found T, err error) {
	for range dumpTries {
		if found, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return found, err
}
