package netutil

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A netlinkSocket is a blocking socket that the runtime does not watch: the kernel carries a
// request out and queues its answer before send returns (net/netlink/af_netlink.c,
// netlink_unicast_kernel). With those of package nl each request wakes another thread.
type netlinkSocket int

func openNetlink(protocol int) (netlinkSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	s := netlinkSocket(fd)
	// To send binds it too, but then a denied bind(2) is seen only by what package nl does later.
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return -1, errors.Join(err, s.Close())
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &nl.SocketTimeoutTv); err != nil {
		return -1, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the socket.
func (s netlinkSocket) Close() error { return unix.Close(int(s)) }

func (s netlinkSocket) send(message []byte) error {
	return unix.Sendto(int(s), message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive returns the next messages of the kernel. The buffer is reused.
func (s netlinkSocket) receive(buffer []byte) ([]syscall.NetlinkMessage, error) {
	for {
		n, from, err := unix.Recvfrom(int(s), buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != nl.PidKernel {
			continue
		}
		return syscall.ParseNetlinkMessage(append([]byte(nil), buffer[:n]...))
	}
}

// buffers have room for what the kernel sends at once. On a stack it would be cleared for each
// request, after the stack has grown to 128 kB.
var buffers = sync.Pool{New: func() any { return new([nl.RECEIVE_BUFFER_SIZE]byte) }}

// execute sends a request and returns the contents of its answers.
func execute(req *nl.NetlinkRequest, protocol int) ([][]byte, error) {
	s, err := openNetlink(protocol)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.send(req.Serialize()); err != nil {
		return nil, err
	}
	var answers [][]byte
	interrupted := false
	buffer := buffers.Get().(*[nl.RECEIVE_BUFFER_SIZE]byte)
	defer buffers.Put(buffer)
	for {
		messages, err := s.receive(buffer[:])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			interrupted = interrupted || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch last := m.Header.Flags&unix.NLM_F_MULTI == 0; {
			case m.Header.Seq != req.Seq:
				return nil, fmt.Errorf("netlink: answer %d to request %d", m.Header.Seq, req.Seq)
			case m.Header.Type == unix.NLMSG_DONE || m.Header.Type == unix.NLMSG_ERROR:
				if err = answered(m.Data); err == nil && interrupted {
					err = netlink.ErrDumpInterrupted
				}
				return answers, err
			default:
				if answers = append(answers, m.Data); last {
					return answers, nil
				}
			}
		}
	}
}
