package netutil

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RaiseCaps puts the capabilities into effect that the process is permitted and does
// not have in effect: those that its file gives it where the file does not say
// "effective". A file that says so cannot be started by a container that has less
// (capabilities(7), "Safety checking for capability-dumb binaries"). It is for the
// start of the program, and for all of its threads.
func RaiseCaps() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	if data[0].Permitted == data[0].Effective && data[1].Permitted == data[1].Effective {
		return nil
	}
	for i := range data {
		data[i].Effective = data[i].Permitted
	}
	// Every thread has its own, and some were started before us.
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// HasCap reports whether the calling thread has a capability in effect
// (capabilities(7); unix.CAP_NET_ADMIN and others).
func HasCap(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil { // denied by a seccomp profile
		return effective()&(1<<capability) != 0
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// effective returns the capabilities in effect of the calling thread (proc_pid_status(5)).
func effective() (set uint64) {
	text, _ := os.ReadFile("/proc/thread-self/status") // not there: none
	_, rest, _ := strings.Cut(string(text), "\nCapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	set, _ = strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	return set
}

// NeedsNetAdmin returns in brackets what a call that has failed needs: the capability NET_ADMIN,
// with the line of a manifest that gives it, and what else is needed. If the call was denied to a
// thread that has the capability, it returns what else denies calls.
func NeedsNetAdmin(also string, err error) string {
	return needs(unix.CAP_NET_ADMIN, "NET_ADMIN", also, err)
}

// needs has the name of a capability as manifests spell it.
func needs(capability int, name, also string, err error) string {
	if errors.Is(err, os.ErrPermission) && HasCap(capability) {
		return "(the capability is held, so this was denied by SELinux, AppArmor or a seccomp profile: see the audit log, dmesg and " +
			"kubectl describe pod; or the network namespace belongs to another user namespace)"
	}
	if HasCap(capability) {
		return "(needs the capability " + name + also + ")"
	}
	context := "capabilities: {add: [" + name + "]}"
	if os.Geteuid() != 0 { // who gets no added capability
		context = "runAsUser: 0, " + context
	}
	return "(needs the capability " + name + also + "; in a manifest: securityContext: {" + context + "})"
}

// HasNoNetlink reports whether an error says that the kernel has no netlink sockets.
func HasNoNetlink(err error) bool { return errors.Is(err, unix.EPROTONOSUPPORT) }

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

// HasMoreRights reports whether the process has more rights than who started it, as by
// capabilities of its file (getauxval(3), AT_SECURE). Then nothing of the environment may
// choose what is run with them.
func HasMoreRights() bool {
	const atSecure = 23 // linux/auxvec.h
	vector, err := unix.Auxv()
	return err != nil || slices.Contains(vector, [2]uintptr{atSecure, 1})
}
