package netutil

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// PassthroughV6 is the source address from which a sidecar connects to its own
// application over IPv6, as 127.0.0.6 over IPv4. Unlike that one it belongs to no
// loopback prefix, so the loopback interface has to be given it.
var PassthroughV6 = netip.MustParseAddr("::6")

// An Addr is an address of the namespace.
type Addr struct {
	IP        netip.Addr
	Interface string
}

// Addrs returns the addresses by which others can reach the namespace: those
// that are neither loopback nor link-local nor [PassthroughV6], in the order of
// the kernel, IPv4 first.
func Addrs() ([]Addr, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	list, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var v4, v6 []Addr
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		ip = ip.Unmap()
		if !ok || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip == PassthroughV6 {
			continue
		}
		found := Addr{IP: ip, Interface: names[a.LinkIndex]}
		if ip.Is4() {
			v4 = append(v4, found)
		} else {
			v6 = append(v6, found)
		}
	}
	return append(v4, v6...), nil
}

// IPv6Off tells that the loopback interface has no IPv6: it is switched off by
// sysctl, or the kernel has none. Then no address of the family can be there.
func IPv6Off() bool {
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	return err != nil || strings.TrimSpace(string(value)) == "1"
}

// AddPassthroughV6 gives the loopback interface [PassthroughV6], unless it has it.
// The address is added as deprecated (preferred lifetime 0), so that the kernel
// never picks it as a source on its own (RFC 6724, rule 3); binding to it works as
// ever. That also marks it as added by us.
func AddPassthroughV6() (Undo, error) {
	_, found, err := passthroughV6()
	if err != nil || found {
		return nil, err
	}
	addr := &netlink.Addr{
		IPNet: passthroughV6Net(), ValidLft: math.MaxUint32, PreferedLft: 0,
		Flags: unix.IFA_F_NODAD, // nobody else can have it: usable at once
	}
	switch err := onLoopback(addr, netlink.AddrAdd); {
	case errors.Is(err, unix.EEXIST): // another run was quicker
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("add %s/128 to lo (needs CAP_NET_ADMIN, and IPv6 on lo not switched off by the sysctl net.ipv6.conf.lo.disable_ipv6): %w", PassthroughV6, err)
	}
	return func() error { return onLoopback(addr, netlink.AddrDel) }, nil
}

// RemovePassthroughV6 takes away what [AddPassthroughV6] added. The address as
// somebody else added it stays.
func RemovePassthroughV6() (Undo, error) {
	addr, found, err := passthroughV6()
	if err != nil || !found || addr.Flags&unix.IFA_F_DEPRECATED == 0 {
		return nil, err
	}
	switch err := onLoopback(&netlink.Addr{IPNet: passthroughV6Net()}, netlink.AddrDel); {
	case errors.Is(err, unix.EADDRNOTAVAIL): // another run was quicker
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("remove %s/128 from lo (needs CAP_NET_ADMIN): %w", PassthroughV6, err)
	}
	return func() error {
		_, err := AddPassthroughV6()
		return err
	}, nil
}

// onLoopback changes an address of the loopback interface.
func onLoopback(addr *netlink.Addr, change func(netlink.Link, *netlink.Addr) error) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	return change(lo, addr)
}

// HasPassthroughV6 tells whether [PassthroughV6] is there, whoever added it.
func HasPassthroughV6() (bool, error) {
	_, found, err := passthroughV6()
	return found, err
}

// passthroughV6 finds the address on the loopback interface.
func passthroughV6() (addr netlink.Addr, found bool, err error) {
	list, err := complete(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return addr, false, fmt.Errorf("list IPv6 addresses: %w", err)
	}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip == PassthroughV6 {
			return a, true, nil
		}
	}
	return addr, false, nil
}

func passthroughV6Net() *net.IPNet {
	return &net.IPNet{IP: PassthroughV6.AsSlice(), Mask: net.CIDRMask(128, 128)}
}
