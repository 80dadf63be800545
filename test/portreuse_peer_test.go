package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// The peer has so many threads, each with ports of its own in each family. They
// are not of the range that the kernel picks from.
const (
	reusers   = 8
	portsEach = 3
	firstPort = 20000
)

// landed is the outcome of a connection that reached the proxy.
const landed = "at the proxy"

// reusePorts makes connections from the peer to the pod and counts their outcomes.
// Those of one port end in each way in turn.
func reusePorts(pod *pod.Pod, total int) map[string]int {
	outcomes := make(chan string)
	var peers sync.WaitGroup
	for n := range reusers {
		family := inet.Families[n%len(inet.Families)]
		peers.Go(func() {
			err := pod.Peer.As(flow.Identity{}, func() error {
				for i := n; i < total; i += reusers {
					round := i / reusers
					port := firstPort + n*portsEach + round%portsEach
					from := netip.AddrPortFrom(flow.Addr("peer", family), uint16(port))
					to := netip.AddrPortFrom(flow.Addr("pod", family), 8080)
					outcomes <- reusePort(from, to, endings[round/portsEach%len(endings)])
				}
				return nil
			})
			if err != nil {
				outcomes <- err.Error()
			}
		})
	}
	go func() {
		peers.Wait()
		close(outcomes)
	}()
	counts := map[string]int{}
	for outcome := range outcomes {
		counts[outcome]++
	}
	return counts
}

// reusePort makes a connection with one of the endings, and returns its outcome.
func reusePort(from, to netip.AddrPort, ending byte) string {
	conn, err := dialFrom(from, to)
	if err == nil {
		defer conn.Close()
		err = converse(conn, from, to, ending)
	}
	var errno syscall.Errno
	switch {
	case err == nil:
		return landed
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}

// converse reads from the proxy which connection it has, and ends it.
func converse(conn *net.TCPConn, from, to netip.AddrPort, ending byte) error {
	if err := conn.SetDeadline(time.Now().Add(reuseTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{ending}); err != nil {
		return err
	}
	want := fmt.Sprintln(to, from)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("the proxy has %q, want %q", got, want)
	}
	switch ending {
	case resetByPeer:
		return conn.SetLinger(0)
	case resetByProxy:
		if _, err := conn.Write([]byte{ending}); err != nil {
			return err
		}
	}
	switch _, err := conn.Read(got); {
	case ending == closedByProxy && errors.Is(err, io.EOF), ending == resetByProxy && errors.Is(err, unix.ECONNRESET):
		return nil
	default:
		return fmt.Errorf("it should have ended %q: %w", ending, err)
	}
}

// dialFrom connects from a port that was used before, as soon as it is free on this
// side: after a FIN of the other side it waits for the last ACK.
func dialFrom(from, to netip.AddrPort) (*net.TCPConn, error) {
	dialer := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(from),
		Timeout:   reuseTimeout,
		Control: func(_, _ string, raw syscall.RawConn) (err error) {
			controlErr := raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			})
			return errors.Join(controlErr, err)
		},
	}
	for deadline := time.Now().Add(reuseTimeout); ; {
		conn, err := dialer.Dial("tcp", to.String())
		if errors.Is(err, unix.EADDRNOTAVAIL) && time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	}
}
