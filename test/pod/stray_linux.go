package pod

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"istio-init/test/flow"
)

// strayTimeout limits the wait for the answer to a stray packet: there is none if the
// packet was dropped, which some flows expect.
const strayTimeout = 400 * time.Millisecond

// strayPort is the source port of a stray packet.
const strayPort = 40000

// Flags of the TCP header (RFC 9293, section 3.1).
const (
	tcpSYN = 1 << 1
	tcpRST = 1 << 2
	tcpACK = 1 << 4
)

// sendStray sends one SYN-ACK without a connection. The error is ECONNREFUSED if a reset
// answers it, and os.ErrDeadlineExceeded if nothing does.
func sendStray(node *Node, src netip.Addr, dst netip.AddrPort) error {
	return node.As(flow.Identity{}, func() error {
		name := "ip4:tcp"
		if src.Is6() {
			name = "ip6:tcp"
		}
		conn, err := net.ListenPacket(name, src.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		packet := tcpHeader(netip.AddrPortFrom(src, strayPort), dst, tcpSYN|tcpACK)
		if _, err := conn.WriteTo(packet, &net.IPAddr{IP: dst.Addr().AsSlice()}); err != nil {
			return err
		}
		_ = conn.SetDeadline(time.Now().Add(strayTimeout))
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return fmt.Errorf("wait for a reset: %w", os.ErrDeadlineExceeded)
			}
			fromPort, toPort := binary.BigEndian.Uint16(buf), binary.BigEndian.Uint16(buf[2:])
			if n >= 20 && from.String() == dst.Addr().String() && fromPort == dst.Port() && toPort == strayPort && buf[13]&tcpRST != 0 {
				return unix.ECONNREFUSED
			}
		}
	})
}

// tcpHeader makes a TCP packet without data.
func tcpHeader(src, dst netip.AddrPort, flags byte) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h[0:], src.Port())
	binary.BigEndian.PutUint16(h[2:], dst.Port())
	binary.BigEndian.PutUint32(h[4:], 1)     // sequence number
	binary.BigEndian.PutUint32(h[8:], 1)     // acknowledged
	h[12], h[13] = 5<<4, flags               // 5 words long
	binary.BigEndian.PutUint16(h[14:], 1024) // window
	pseudo := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP, 0, byte(len(h)))
	binary.BigEndian.PutUint16(h[16:], checksum(append(pseudo, h...)))
	return h
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
