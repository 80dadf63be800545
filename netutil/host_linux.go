package netutil

import (
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// initialPIDNamespace is the process namespace in which the machine booted
// (linux/proc_ns.h, PROC_PID_INIT_INO).
const initialPIDNamespace = "pid:[4026531836]"

// manyPods is how many veth interfaces beside a real one make a node: a pod has
// one or two.
const manyPods = 3

// LooksLikeHost tells why the network namespace seems to be that of a machine and
// not of a pod; "" when it does not. It is when it holds the init process of the
// machine and a real interface, or a real interface and the ends of many pods'
// links. A pod that was given a real interface is none.
func LooksLikeHost() (why string, err error) {
	links, err := listed(unix.RTM_GETLINK, unix.AF_UNSPEC, unix.SizeofIfInfomsg)
	if err != nil {
		return "", fmt.Errorf("list interfaces: %w", err)
	}
	var devices, veths []string
	for _, l := range links {
		name := cString(l.attr(unix.IFLA_IFNAME))
		switch cString(attribute(l.attr(unix.IFLA_LINKINFO), nl.IFLA_INFO_KIND)) {
		case "": // nobody made it
			if name != "lo" {
				devices = append(devices, name)
			}
		case "veth":
			veths = append(veths, name)
		}
	}
	switch {
	case len(devices) == 0:
		return "", nil
	case holdsInit():
		return "it holds the init process and the interface " + strings.Join(devices, ", "), nil
	case len(veths) >= manyPods:
		return fmt.Sprintf("it holds the interface %s and %d veth interfaces", strings.Join(devices, ", "), len(veths)), nil
	}
	return "", nil
}

// holdsInit reports whether the namespace is that of the machine's init process. In
// a container process 1 is the container's own. Where process 1 may not be looked
// at, a setting tells that exists in the first namespace alone
// (net/core/sysctl_net_core.c, net_core_table).
func holdsInit() bool {
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || pids != initialPIDNamespace {
		return false
	}
	init, err := os.Readlink("/proc/1/ns/net")
	if err != nil {
		_, err := os.Stat("/proc/sys/net/core/dev_weight")
		return err == nil
	}
	here, err := os.Readlink("/proc/thread-self/ns/net")
	return err == nil && here == init
}
