package netutil

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// answerBytes is how much is read at once: more the kernel does not put into one
// part of a listing (net/netlink/af_netlink.c, netlink_dump).
const answerBytes = 32 << 10

// answerBuffers are for one answer after the other.
var answerBuffers = sync.Pool{New: func() any { return new([answerBytes]byte) }}

// ask sends a request and returns the messages of the answer without their headers.
//
// It does what [nl.NetlinkRequest.Execute] does, which takes 64 KB of stack for each
// part of an answer and has the runtime watch the socket. A run asks a dozen times,
// and most answers are that nothing is there: this way they take a fifth of the time.
func ask(protocol int, req *nl.NetlinkRequest) ([][]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	defer unix.Close(fd)
	if err := send(fd, req.Serialize()); err != nil {
		return nil, err
	}
	var answers [][]byte
	buf := answerBuffers.Get().(*[answerBytes]byte)
	defer answerBuffers.Put(buf)
	for {
		messages, err := receive(fd, buf[:])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch {
			case m.header.Flags&unix.NLM_F_DUMP_INTR != 0:
				return nil, netlink.ErrDumpInterrupted
			case m.header.Type == unix.NLMSG_DONE:
				return answers, m.errno()
			case m.header.Type == unix.NLMSG_ERROR: // or an acknowledgement
				return answers, m.errno()
			}
			answers = append(answers, append([]byte(nil), m.data...))
		}
	}
}

// send sends bytes to the kernel and bounds the wait for its answer, which comes at
// once.
func send(fd int, bytes []byte) error {
	timeout := unix.Timeval{Sec: 10}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return fmt.Errorf("bound the wait for netlink: %w", err)
	}
	if err := unix.Sendto(fd, bytes, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	return nil
}

// A message is one of netlink(7).
type message struct {
	header unix.NlMsghdr
	data   []byte
}

// errno is what a message says of a request; nil: it was carried out.
func (m message) errno() error {
	if len(m.data) >= 4 {
		if code := int32(binary.NativeEndian.Uint32(m.data)); code < 0 {
			return unix.Errno(-code)
		}
	}
	return nil
}

// receive reads messages into a buffer, in which they stay.
func receive(fd int, buf []byte) ([]message, error) {
	var size int
	for {
		var err error
		if size, _, err = unix.Recvfrom(fd, buf, 0); err == nil {
			break
		}
		if err != unix.EINTR {
			return nil, fmt.Errorf("read from netlink: %w", err)
		}
	}
	var messages []message
	for rest := buf[:size]; len(rest) >= unix.SizeofNlMsghdr; {
		h := unix.NlMsghdr{
			Len:  binary.NativeEndian.Uint32(rest),
			Type: binary.NativeEndian.Uint16(rest[4:]), Flags: binary.NativeEndian.Uint16(rest[6:]),
		}
		if h.Len < unix.SizeofNlMsghdr || int(h.Len) > len(rest) {
			return nil, fmt.Errorf("read from netlink: a message of %d bytes in %d", h.Len, len(rest))
		}
		messages = append(messages, message{h, rest[unix.SizeofNlMsghdr:h.Len]})
		rest = rest[min(len(rest), int(h.Len+3)&^3):]
	}
	return messages, nil
}

// listed are the objects of a routing listing: of each its fixed part of that many
// bytes, and its attributes.
func listed(what, family, fixed int) ([]object, error) {
	req := nl.NewNetlinkRequest(what, unix.NLM_F_DUMP)
	head := make(fixedPart, fixed)
	head[0] = byte(family)
	req.AddData(head)
	answers, err := complete(func() ([][]byte, error) { return ask(unix.NETLINK_ROUTE, req) })
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, a := range answers {
		if len(a) >= fixed {
			objects = append(objects, object{a[:fixed], a[fixed:]})
		}
	}
	return objects, nil
}

// A fixedPart is what stands before the attributes of a request.
type fixedPart []byte

func (p fixedPart) Len() int { return len(p) }

func (p fixedPart) Serialize() []byte { return p }

// An object is one of a listing.
type object struct{ fixed, attrs []byte }

// attr returns the value of an attribute; nil when it is not there.
func (o object) attr(kind int) []byte { return attribute(o.attrs, kind) }

// number returns the value of an attribute of 32 bits; 0 when it is not there.
func (o object) number(kind int) uint32 {
	if value := o.attr(kind); len(value) == 4 {
		return binary.NativeEndian.Uint32(value)
	}
	return 0
}

// attribute finds the value of an attribute among others.
func attribute(attrs []byte, kind int) []byte {
	for len(attrs) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < unix.SizeofNlAttr || size > len(attrs) {
			return nil
		}
		if binary.NativeEndian.Uint16(attrs[2:])&nl.NLA_TYPE_MASK == uint16(kind) {
			return attrs[unix.SizeofNlAttr:size]
		}
		attrs = attrs[min(len(attrs), (size+3)&^3):]
	}
	return nil
}

// cString is a value that is a C string.
func cString(value []byte) string {
	for len(value) > 0 && value[len(value)-1] == 0 {
		value = value[:len(value)-1]
	}
	return string(value)
}
