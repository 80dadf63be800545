package capturetest

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Load is servers that say in one byte who they are, and clients that connect to
// them without a pause and note whether it was who it should be. The end of the
// test ends it, and so does Stop.
type Load struct {
	clients, servers sync.WaitGroup
	stopped          atomic.Bool

	mu    sync.Mutex
	tally Tally
}

// A Tally counts connections by what became of them.
type Tally struct {
	Captured int            // taken by the server that should take them
	Escaped  int            // taken by another
	Failed   map[string]int // by the step that failed and its error
	Resent   int            // of those that were taken: a packet had to be sent again
}

// Total returns how many connections were tried.
func (c Tally) Total() int { return c.Captured + c.Escaped + c.Failures() }

// Failures returns how many connections were taken by nobody.
func (c Tally) Failures() (n int) {
	for _, count := range c.Failed {
		n += count
	}
	return n
}

// Since returns what was counted after an earlier tally.
func (c Tally) Since(earlier Tally) Tally {
	d := Tally{c.Captured - earlier.Captured, c.Escaped - earlier.Escaped, maps.Clone(c.Failed), c.Resent - earlier.Resent}
	for why, n := range earlier.Failed {
		if d.Failed[why] -= n; d.Failed[why] == 0 {
			delete(d.Failed, why)
		}
	}
	return d
}

// String lists the counts.
func (c Tally) String() string {
	return fmt.Sprintf("%d connections: %d escaped, %d failed %v, %d with a packet sent again",
		c.Total(), c.Escaped, c.Failures(), c.Failed, c.Resent)
}

// NewLoad returns a load without servers and clients.
func NewLoad(t TB) *Load {
	l := &Load{tally: Tally{Failed: map[string]int{}}}
	t.Cleanup(func() {
		l.Stop()
		l.servers.Wait() // their listeners were closed before
	})
	return l
}

// Tally returns the counts so far.
func (l *Load) Tally() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.tally
	now.Failed = maps.Clone(now.Failed)
	return now
}

// Stop ends the clients and waits for their last connections.
func (l *Load) Stop() {
	l.stopped.Store(true)
	l.clients.Wait()
}

// Serve gives each connection to an address one byte and ends it.
func (l *Load) Serve(t TB, node *Node, who Identity, at netip.AddrPort, transparent bool, says byte) {
	t.Helper()
	listener := node.Listen(t, who, at, transparent)
	l.servers.Go(func() {
		for {
			conn, err := listener.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil { // else the client is gone already
				_, _ = conn.Write([]byte{says})
				_ = conn.Close()
			}
		}
	})
}

// Connect starts a client that connects to the addresses in turn, as a user of a
// namespace, and expects that byte. It has a thread of its own.
func (l *Load) Connect(node *Node, who Identity, want byte, dsts ...netip.AddrPort) {
	l.clients.Go(func() {
		err := node.As(who, func() error {
			for i := 0; !l.stopped.Load(); i++ {
				got, resent, err := connectOnce(dsts[i%len(dsts)])
				l.count(got == want, resent, err)
			}
			return nil
		})
		if err != nil {
			l.count(false, false, err)
		}
	})
}

func (l *Load) count(captured, resent bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.tally.Failed[err.Error()]++
		return
	case captured:
		l.tally.Captured++
	default:
		l.tally.Escaped++
	}
	if resent {
		l.tally.Resent++
	}
}

// connectOnce connects by a blocking socket, which is as fast as it goes, reads one
// byte, and ends the connection by a reset, which frees its port at once. resent
// tells whether the SYN was lost.
func connectOnce(dst netip.AddrPort) (says byte, resent bool, err error) {
	family, sockaddr := sockaddrOf(dst)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, false, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	err = errors.Join(
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 4), // 31 seconds
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30}))
	if err != nil {
		return 0, false, fmt.Errorf("setsockopt: %w", err)
	}
	if err := again(func() error { return unix.Connect(fd, sockaddr) }); err != nil {
		return 0, false, fmt.Errorf("connect: %w", err)
	}
	var buf [1]byte
	var n int
	if err := again(func() (err error) { n, err = unix.Read(fd, buf[:]); return err }); err != nil {
		return 0, false, fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return 0, false, errors.New("read: the end without a byte")
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false, fmt.Errorf("getsockopt: %w", err)
	}
	return buf[0], info.Total_retrans > 0, nil
}

// again repeats a system call that a signal of the Go runtime interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func sockaddrOf(dst netip.AddrPort) (family int, sockaddr unix.Sockaddr) {
	if dst.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: dst.Addr().As4(), Port: int(dst.Port())}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: dst.Addr().As16(), Port: int(dst.Port())}
}
