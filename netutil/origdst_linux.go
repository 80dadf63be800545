package netutil

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// OriginalDst returns where a connection was sent before a REDIRECT took it; for
// one that none took it is the local address. The connection is an accepted one.
func OriginalDst(conn *net.TCPConn) (dst netip.AddrPort, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return dst, fmt.Errorf("original destination: %w", err)
	}
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()
	var sockErr error
	if err := raw.Control(func(fd uintptr) {
		if local.Unmap().Is4() {
			dst, sockErr = originalDstV4(int(fd))
		} else {
			dst, sockErr = originalDstV6(int(fd))
		}
	}); err != nil {
		return dst, fmt.Errorf("original destination: %w", err)
	}
	if sockErr != nil {
		return dst, fmt.Errorf("original destination: %w", sockErr)
	}
	return dst, nil
}

// originalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
// (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
const originalDst = 80

// originalDstV4 reads a sockaddr_in, which is as long as the structure of the
// x/sys function that is at hand.
func originalDstV4(fd int) (netip.AddrPort, error) {
	v, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, originalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.BigEndian.Uint16(v.Multiaddr[2:4])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(v.Multiaddr[4:8])), port), nil
}

// originalDstV6 reads a sockaddr_in6, with which that structure begins.
func originalDstV6(fd int) (netip.AddrPort, error) {
	v, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, originalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := v.Addr.Port<<8 | v.Addr.Port>>8 // is in network order
	return netip.AddrPortFrom(netip.AddrFrom16(v.Addr.Addr), port), nil
}
