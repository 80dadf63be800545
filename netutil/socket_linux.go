package netutil

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"istio-init/netutil/inet"
)

// A Socket is what is asked of a socket besides its addresses. The zero value
// asks for nothing.
type Socket struct {
	Transparent bool   // may have addresses that are not the machine's (ip(7), IP_TRANSPARENT)
	Mark        uint32 // of its packets (socket(7), SO_MARK); zero: none
	Hops        int    // how far its packets go: 1 is no farther than the next machine (ip(7), IP_TTL); zero: as the system has it
}

// Control makes a new socket so, before it has an address. It is of the form that
// [net.Dialer] and [net.ListenConfig] take. Transparent and Mark need CAP_NET_ADMIN
// or CAP_NET_RAW.
func (s Socket) Control(network, _ string, raw syscall.RawConn) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) {
		f := inet.IPv4
		if strings.HasSuffix(network, "6") {
			f = inet.IPv6
		}
		err = s.set(int(fd), f)
	}); controlErr != nil {
		return controlErr
	}
	return err
}

// set sets the options of a socket of a family.
func (s Socket) set(fd int, f inet.Family) error {
	level, transparent, hops := unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_TTL
	if f == inet.IPv6 {
		level, transparent, hops = unix.SOL_IPV6, unix.IPV6_TRANSPARENT, unix.IPV6_UNICAST_HOPS
	}
	var errs []error
	if s.Transparent {
		errs = append(errs, os.NewSyscallError("make a socket transparent", unix.SetsockoptInt(fd, level, transparent, 1)))
	}
	if s.Mark != 0 {
		errs = append(errs, os.NewSyscallError("mark a socket", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.Mark))))
	}
	if s.Hops != 0 {
		errs = append(errs, os.NewSyscallError("limit the hops of a socket", unix.SetsockoptInt(fd, level, hops, s.Hops)))
	}
	return errors.Join(errs...)
}

// ListenTCP listens on an address, in its family alone.
func (s Socket) ListenTCP(ctx context.Context, at netip.AddrPort) (*net.TCPListener, error) {
	config := net.ListenConfig{Control: s.Control}
	config.SetMultipathTCP(false) // its sockets know no original destination
	l, err := config.Listen(ctx, networkOf("tcp", at), at.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// ListenUDP takes packets for an address, in its family alone.
func (s Socket) ListenUDP(ctx context.Context, at netip.AddrPort) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: s.Control}
	l, err := config.ListenPacket(ctx, networkOf("udp", at), at.String())
	if err != nil {
		return nil, err
	}
	return l.(*net.UDPConn), nil
}

// networkOf returns Go's name of a protocol for the family of an address alone.
func networkOf(proto string, at netip.AddrPort) string {
	if at.Addr().Is4() {
		return proto + "4"
	}
	return proto + "6"
}

// A Conn is the end of a connection that began here. Reading and writing wait for
// the connection, up to the deadline. Closing it leaves nothing behind: a TCP
// connection is reset.
type Conn struct{ *os.File }

// Connect begins a connection over "tcp" or "udp" and returns when its first packet
// is sent, which UDP has none of. A source that is not valid is the kernel's choice.
// The order of the first packets is that of the calls.
func (s Socket) Connect(proto string, from netip.Addr, to netip.AddrPort) (*Conn, error) {
	kind := unix.SOCK_STREAM
	if proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(addressFamilies[inet.Of(to.Addr())], kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("make a socket", err)
	}
	conn := &Conn{os.NewFile(uintptr(fd), proto+" "+to.String())}
	if err := s.connect(fd, from, to); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (s Socket) connect(fd int, from netip.Addr, to netip.AddrPort) error {
	if err := s.set(fd, inet.Of(to.Addr())); err != nil {
		return err
	}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return os.NewSyscallError("set how a socket closes", err)
	}
	if from.IsValid() {
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
			return fmt.Errorf("bind to %s: %w", from, err)
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect to %s: %w", to, err)
	}
	return nil
}

// Connected reports whether the connection is there: the other end has answered.
func (c *Conn) Connected() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	there := false
	err = raw.Control(func(fd uintptr) {
		_, err := unix.Getpeername(int(fd))
		there = err == nil
	})
	return err == nil && there
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
