package netutil

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"istio-init/netutil/inet"
)

// An Addr is an address of the namespace.
type Addr struct {
	IP        netip.Addr
	Interface string
}

// Addrs returns the addresses by which others can reach the namespace: those
// that are neither loopback nor link-local nor the excepted one, in the order of the
// kernel, IPv4 first.
func Addrs(except netip.Addr) ([]Addr, error) {
	list, err := addresses(unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var found inet.PerFamily[[]Addr]
	var names map[int]string
	for _, a := range list {
		ip := a.ip
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip == except {
			continue
		}
		if names == nil {
			if names, err = linkNames(); err != nil {
				return nil, err
			}
		}
		f := inet.Of(ip)
		found[f] = append(found[f], Addr{IP: ip, Interface: names[a.link]})
	}
	return slices.Concat(found[:]...), nil
}

// Link tells of an interface whether it is up, and of which families it has an address that
// REDIRECT sends connections to: of IPv6 that is none of its link (net/netfilter/nf_nat_redirect.c,
// nf_nat_redirect_ipv6_usable).
func Link(name string) (up bool, has inet.PerFamily[bool], err error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return false, has, fmt.Errorf("interface %q: %w", name, err)
	}
	addrs, err := link.Addrs()
	if err != nil {
		return false, has, fmt.Errorf("list addresses of %q: %w", name, err)
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if ip := prefix.Addr(); err == nil && (ip.Is4() || !ip.IsLinkLocalUnicast()) {
			has[inet.Of(ip)] = true
		}
	}
	return link.Flags&net.FlagUp != 0, has, nil
}

// linkNames returns the names of the interfaces by their index.
func linkNames() (map[int]string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
	}
	return names, nil
}

// IPv6Off tells that the loopback interface has no IPv6: it is switched off by
// sysctl, or the kernel has none. Then no address of the family can be there.
func IPv6Off() bool {
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
	return err != nil || strings.TrimSpace(string(value)) == "1"
}

// needsLo is [NeedsNetAdmin] for a change of the loopback interface, which the kernel also denies
// where that has no IPv6.
func needsLo(f inet.Family, also string, err error) string {
	if f == inet.IPv6 && errors.Is(err, unix.EACCES) && IPv6Off() {
		return "(needs IPv6 on lo not switched off by the sysctl net.ipv6.conf.lo.disable_ipv6)"
	}
	return NeedsNetAdmin(also, err)
}

// AddLoopbackAddr gives the loopback interface an IPv6 address, unless it has it. The
// address is added as deprecated (preferred lifetime 0), so that the kernel never
// picks it as a source on its own (RFC 6724, rule 3); binding to it works as ever.
// That also marks it as added by us.
func AddLoopbackAddr(a netip.Addr) (Undo, error) {
	_, found, err := findAddr(a)
	if err != nil || found {
		return nil, err
	}
	switch err := addAddr(a); {
	case errors.Is(err, unix.EEXIST): // another run was quicker
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("add %s/128 to lo %s: %w", a, needsLo(inet.IPv6, "", err), err)
	}
	return func() error { return changeAddr(a, unix.RTM_DELADDR, 0) }, nil
}

// RemoveLoopbackAddr takes away what [AddLoopbackAddr] added. The address as somebody
// else added it stays.
func RemoveLoopbackAddr(a netip.Addr) (Undo, error) {
	addr, found, err := findAddr(a)
	if err != nil || !found || !addr.deprecated() {
		return nil, err
	}
	switch err := changeAddr(a, unix.RTM_DELADDR, 0); {
	case errors.Is(err, unix.EADDRNOTAVAIL): // another run was quicker
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("remove %s/128 from lo %s: %w", a, NeedsNetAdmin("", err), err)
	}
	return func() error {
		_, err := AddLoopbackAddr(a)
		return err
	}, nil
}

// addAddr adds an address as one that is never picked and that nobody else can have,
// so that it can be used at once.
func addAddr(a netip.Addr) error {
	lifetimes := nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Valid: math.MaxUint32}} // preferred: 0
	return changeAddr(a, unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD)), nl.NewRtAttr(unix.IFA_CACHEINFO, lifetimes.Serialize()))
}

// loopback is the index of the interface lo in every namespace
// (include/net/flow.h, LOOPBACK_IFINDEX).
const loopback = 1

// changeAddr adds or deletes an IPv6 address on the loopback interface.
func changeAddr(a netip.Addr, command, flags int, attrs ...*nl.RtAttr) error {
	req := nl.NewNetlinkRequest(command, flags|unix.NLM_F_ACK)
	head := nl.NewIfAddrmsg(unix.AF_INET6)
	head.Index, head.Prefixlen = loopback, uint8(inet.IPv6.Bits())
	req.AddData(head)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, a.AsSlice()))
	for _, attr := range attrs {
		req.AddData(attr)
	}
	_, err := execute(req, unix.NETLINK_ROUTE)
	return err
}

// findAddr finds an IPv6 address of the namespace.
func findAddr(ip netip.Addr) (addr address, found bool, err error) {
	list, err := addresses(unix.AF_INET6)
	if err != nil {
		return addr, false, fmt.Errorf("list IPv6 addresses: %w", err)
	}
	for _, a := range list {
		if a.ip == ip {
			return a, true, nil
		}
	}
	return addr, false, nil
}

// An address is one that an interface has.
type address struct {
	ip    netip.Addr
	link  int    // index of the interface
	flags uint32 // unix.IFA_F_DEPRECATED and others
}

// deprecated reports whether the kernel never picks the address as a source.
func (a address) deprecated() bool { return a.flags&unix.IFA_F_DEPRECATED != 0 }

// addresses lists the addresses of a family; of all with unix.AF_UNSPEC.
func addresses(family int) ([]address, error) {
	list, err := listed(unix.RTM_GETADDR, family, unix.SizeofIfAddrmsg)
	if err != nil {
		return nil, err
	}
	var found []address
	for _, o := range list {
		own := o.attr(unix.IFA_LOCAL) // where there is one, IFA_ADDRESS may be the peer's
		if own == nil {
			own = o.attr(unix.IFA_ADDRESS)
		}
		if ip, ok := netip.AddrFromSlice(own); ok {
			link := binary.NativeEndian.Uint32(o.fixed[4:]) // ifaddrmsg.ifa_index
			found = append(found, address{ip.Unmap(), int(link), o.number(unix.IFA_FLAGS)})
		}
	}
	return found, nil
}
