package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A client is a blocking socket, which is the fastest kind.
type client struct{ fd int }

// connectOnce connects, reads the byte of the server and ends the connection. resent
// reports whether a packet was lost.
func (l *Load) connectOnce(r Route, n int) (says byte, resent bool, err error) {
	c, err := l.dial(r, n)
	if err != nil {
		return 0, false, err
	}
	defer c.close()
	if says, err = c.hear(); err != nil {
		return 0, false, err
	}
	info, err := unix.GetsockoptTCPInfo(c.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false, fmt.Errorf("getsockopt: %w", err)
	}
	return says, info.Total_retrans > 0, nil
}

// dial makes the n-th connection, with its own port. It ends by a reset, which frees the
// port at once.
func (l *Load) dial(r Route, n int) (c client, err error) {
	family, to := sockaddr(r.To)
	if c.fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return c, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	timeout := unix.NsecToTimeval(l.timeout.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout), // connect(2) too
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	if err != nil {
		return c, fmt.Errorf("setsockopt: %w", err)
	}
	if r.From.IsValid() {
		const first, ports = 2000, 60000
		_, from := sockaddr(netip.AddrPortFrom(r.From, uint16(first+n%ports)))
		if err := unix.Bind(c.fd, from); err != nil {
			return c, fmt.Errorf("bind: %w", err)
		}
	}
	if err := again(func() error { return unix.Connect(c.fd, to) }); err != nil {
		return c, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

func (c client) close() { _ = unix.Close(c.fd) }

// hear reads one byte.
func (c client) hear() (byte, error) {
	var buf [1]byte
	var n int
	err := again(func() (err error) { n, err = unix.Read(c.fd, buf[:]); return err })
	if err == nil && n == 0 {
		err = io.EOF
	}
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	return buf[0], nil
}

// ask sends a byte and reads one.
func (c client) ask() (byte, error) {
	if _, err := unix.Write(c.fd, []byte{'?'}); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return c.hear()
}

// again repeats a system call that a signal of the Go runtime interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func sockaddr(dst netip.AddrPort) (family int, to unix.Sockaddr) {
	if dst.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: dst.Addr().As4(), Port: int(dst.Port())}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: dst.Addr().As16(), Port: int(dst.Port())}
}
