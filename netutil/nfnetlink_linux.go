package netutil

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"istio-init/netutil/inet"
)

// An NFTMessage is one operation of a transaction of nf_tables, with its attributes.
type NFTMessage struct {
	Type   int // NFT_MSG_NEWTABLE and so on
	Family uint8
	Flags  int // without NLM_F_REQUEST
	Attrs  []byte
}

// An NFTError is what the kernel refused of a transaction.
type NFTError struct {
	Index int // of the first refused message; -1: the transaction as a whole
	Err   error
}

func (e *NFTError) Error() string { return e.Err.Error() }

// Unwrap returns the number of the error.
func (e *NFTError) Unwrap() error { return e.Err }

// CommitNFT carries out a transaction, which fails with ERESTART when nf_tables is of another
// generation; zero: of any. After an error nothing is changed. Only the last message is
// acknowledged: for hundreds of answers at once a socket has no room. A refusal is an
// [NFTError].
func CommitNFT(messages []NFTMessage, generation uint32) error {
	return SendNFT(EncodeNFT(messages, generation))
}

// EncodeNFT returns a transaction as the kernel takes it; see [CommitNFT].
func EncodeNFT(messages []NFTMessage, generation uint32) (batch []byte) {
	edge := func(kind int, seq int, attrs []byte) {
		batch = appendMessage(batch, NFTMessage{Type: kind, Attrs: attrs}, seq, unix.NFNL_SUBSYS_NFTABLES)
	}
	var begin []byte
	if generation != 0 {
		begin = nl.NewRtAttr(unix.NFNL_BATCH_GENID, binary.BigEndian.AppendUint32(nil, generation)).Serialize()
	}
	edge(unix.NFNL_MSG_BATCH_BEGIN, 0, begin)
	for i, m := range messages {
		m.Type |= unix.NFNL_SUBSYS_NFTABLES << 8
		if i == len(messages)-1 {
			m.Flags |= unix.NLM_F_ACK
		}
		batch = appendMessage(batch, m, i+1, 0)
	}
	edge(unix.NFNL_MSG_BATCH_END, len(messages)+1, nil)
	return batch
}

// SendNFT carries out an encoded transaction; see [CommitNFT].
func SendNFT(batch []byte) error {
	socket, err := openNetlink(unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer socket.Close()
	if err := send(socket, batch); err != nil {
		return err
	}
	return firstAnswer(socket)
}

// appendMessage appends a message with its headers (linux/netlink.h, linux/netfilter/nfnetlink.h).
func appendMessage(b []byte, m NFTMessage, seq int, resource uint16) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.NLMSG_HDRLEN+nl.SizeofNfgenmsg+len(m.Attrs)))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Type))
	b = binary.NativeEndian.AppendUint16(b, uint16(m.Flags|unix.NLM_F_REQUEST))
	b = binary.NativeEndian.AppendUint32(b, uint32(seq))
	b = append(b, 0, 0, 0, 0, m.Family, nl.NFNETLINK_V0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, m.Attrs...)
}

// send sends a transaction, whole. For one that the default buffer does not take it asks for
// a larger one, which the kernel doubles (socket(7), SO_SNDBUF).
func send(s netlinkSocket, batch []byte) error {
	err := s.send(batch)
	if errors.Is(err, unix.EMSGSIZE) {
		if fd := int(s); unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, len(batch)) != nil { // in another user namespace
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, len(batch))
		}
		err = s.send(batch)
	}
	if errors.Is(err, unix.EMSGSIZE) {
		return fmt.Errorf("%d bytes of rules are more than netlink takes here, raise net.core.wmem_max: %w", len(batch), err)
	}
	if err != nil {
		return fmt.Errorf("send to netlink: %w", err)
	}
	return nil
}

// firstAnswer returns the first refusal, or nil when the last message is acknowledged. Errors
// come in the order of their messages, and before the acknowledgement.
func firstAnswer(socket netlinkSocket) error {
	buffer := buffers.Get().(*[nl.RECEIVE_BUFFER_SIZE]byte)
	defer buffers.Put(buffer)
	for {
		messages, err := socket.receive(buffer[:])
		if errors.Is(err, unix.ENOBUFS) { // more errors than there is room for: the first are there
			continue
		}
		if err != nil {
			return fmt.Errorf("read from netlink: %w", err)
		}
		for _, m := range messages {
			if m.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			if err := answered(m.Data); err != nil {
				return &NFTError{Index: int(m.Header.Seq) - 1, Err: err}
			}
			return nil
		}
	}
}

// answered is what the kernel says of a request (netlink(7), struct nlmsgerr); nil: it
// was carried out.
func answered(message []byte) error {
	if len(message) >= 4 {
		if code := int32(binary.NativeEndian.Uint32(message)); code < 0 {
			return unix.Errno(-code)
		}
	}
	return nil
}

// DumpNFT lists what a GET message of nf_tables names, and returns the attributes of each object.
// The attributes of the request select some of them, as the kernel allows.
func DumpNFT(message int, f inet.Family, attrs []byte) ([][]byte, error) {
	req := nftRequest(unix.NFNL_SUBSYS_NFTABLES, message, nftFamilies[f], unix.NLM_F_DUMP)
	req.AddRawData(attrs)
	answers, err := complete(func() ([][]byte, error) { return execute(req, unix.NETLINK_NETFILTER) })
	if err != nil {
		return nil, err
	}
	var objects [][]byte
	for _, a := range answers {
		if len(a) >= nl.SizeofNfgenmsg {
			objects = append(objects, a[nl.SizeofNfgenmsg:])
		}
	}
	return objects, nil
}

// Attributes returns netlink attributes, up to one that is cut off: their kinds and values.
func Attributes(attrs []byte) iter.Seq2[int, []byte] { return attributes(attrs) }

// Attribute returns the value of an attribute; nil when it is not there.
func Attribute(attrs []byte, kind int) []byte { return attribute(attrs, kind) }

// NFTFamily returns the number of a family in netfilter.
func NFTFamily(f inet.Family) uint8 { return nftFamilies[f] }
