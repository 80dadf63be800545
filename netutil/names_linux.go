package netutil

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The ways by which glibc leaves the files of the machine when it looks a name up:
// the list of services to ask (nsswitch.conf(5)), and the socket of nscd(8), which
// it asks before all of them (nscd/nscd-client.h, _PATH_NSCDSOCKET).
const (
	nsswitch   = "/etc/nsswitch.conf"
	nscdSocket = "/var/run/nscd/socket"
)

// WithoutNameServices calls fn where the programs that it starts look users and
// groups up in the files of the machine and nowhere else, and returns its error.
// iptables looks every id of its owner match up as a name first, also one that is a
// number (extensions/libxt_owner.c, owner_mt_parse). That takes as long as the
// slowest service takes that the machine asks: seconds where it is in the network.
//
// It needs CAP_SYS_ADMIN; fn is told why when it is called where services may be
// asked. Otherwise it runs on a thread of its own, in the network namespace of the
// caller and in a mount namespace of its own, where /dev/null covers both ways:
//
//   - An nsswitch.conf without a line means what no nsswitch.conf does: "files" for
//     users and groups, or "compat", the same files, in a glibc that was built with
//     NIS (nss/nss_database.c, nss_database_select_default).
//   - A file that is no socket refuses to be connected to, at once (net/unix/
//     af_unix.c, unix_find_bsd), and glibc does without.
//
// A file with lines of ours would do no more, and would have to be in some
// directory: one that is only in memory is in no mount namespace, and so cannot be
// mounted from (fs/namespace.c, __do_loopback).
//
// What is covered is so for the thread and what it starts, and gone with them. A
// mount namespace costs 2 µs for each mount of the node, so where nobody else is
// asked there is none. Nor is there anything to cover for musl, which knows no
// services.
func WithoutNameServices(fn func(why error) error) error {
	conf, err := readRegular(nsswitch, 1<<20)
	if err != nil || !asksOthers(string(conf)) {
		return fn(nil)
	}
	here, err := netns.Get()
	if err != nil {
		return fn(fmt.Errorf("open the current network namespace: %w", err))
	}
	defer here.Close()
	done := make(chan error, 1)
	var why error
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if why = coverNameServices(here); why != nil {
			done <- nil
			return
		}
		done <- fn(nil)
	}()
	if err := <-done; why == nil {
		return err
	}
	return fn(why)
}

// asksOthers reports whether an nsswitch.conf has users or groups looked up elsewhere
// than in files. The service systemd does not count: it knows no name that is a
// number, and says so without asking (src/basic/user-util.c, valid_user_group_name).
func asksOthers(conf string) bool {
	for line := range strings.Lines(conf) {
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ':' || unicode.IsSpace(r) })
		if len(words) == 0 || words[0] != "passwd" && words[0] != "group" {
			continue
		}
		if slices.ContainsFunc(words[1:], func(s string) bool { return s != "files" && s != "systemd" }) {
			return true
		}
	}
	return false
}

// coverNameServices takes the calling thread to a network namespace, and to a mount
// namespace of its own in which the ways to name services are covered.
func coverNameServices(target netns.NsHandle) error {
	if err := netns.Set(target); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	// What we mount stays here. What the node unmounts is unmounted here too, or it
	// would be in use for as long as we run (mount_namespaces(7), MS_SLAVE).
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts to the mount namespace: %w", err)
	}
	if err := unix.Mount(os.DevNull, nsswitch, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cover %s: %w", nsswitch, err)
	}
	if err := unix.Mount(os.DevNull, nscdSocket, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cover %s: %w", nscdSocket, err)
	}
	return nil
}
