package selftest

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
)

// oneHop is the TTL of our packets: they reach the next machine and none beyond it.
const oneHop = 1

// maxClients bounds the TCP connections that a listener has at a time; those beyond are
// not ours.
const maxClients = 256

// listeners are the sockets that accept the connections of a run. Each closes when its
// context ends.
type listeners struct {
	records     records
	wg          *sync.WaitGroup
	unavailable []unavailable // in the order of the plans
}

// unavailable is a listener that could not be opened, and why.
type unavailable struct {
	Listener
	err error
}

// listen opens a listener. Its failure is kept for the probes that need it.
func (ls *listeners) listen(ctx context.Context, l Listener) {
	err := netutil.AsOwner(l.Who.UID, l.Who.GID, func() error {
		socket := netutil.Socket{Transparent: l.Transparent, Hops: oneHop}
		if l.Proto == iptables.UDP {
			conn, err := socket.ListenUDP(ctx, l.At)
			if err == nil {
				ls.serve(ctx, conn, func() { ls.readPackets(l, conn) })
			}
			return err
		}
		listener, err := socket.ListenTCP(ctx, l.At)
		if err == nil {
			ls.serve(ctx, listener, func() { ls.accept(ctx, l, listener) })
		}
		return err
	})
	if err != nil {
		ls.unavailable = append(ls.unavailable, unavailable{l, err})
	}
}

// serve runs a function and closes its socket: when it returns, or to make it return
// when the context ends.
func (ls *listeners) serve(ctx context.Context, socket io.Closer, run func()) {
	ls.wg.Add(1)
	done := func() {
		_ = socket.Close()
		ls.wg.Done()
	}
	stop := context.AfterFunc(ctx, done)
	ls.wg.Go(func() {
		run()
		if stop() {
			done()
		}
	})
}

// accept accepts TCP connections.
func (ls *listeners) accept(ctx context.Context, l Listener, listener *net.TCPListener) {
	var clients atomic.Int32
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return // it is closed
		}
		if clients.Add(1) > maxClients {
			clients.Add(-1)
			_ = conn.Close()
			continue
		}
		ls.serve(ctx, conn, func() {
			defer clients.Add(-1)
			ls.serveConn(l, conn)
		})
	}
}

// serveConn reads the token, records the arrival and answers. The client closes.
func (ls *listeners) serveConn(l Listener, conn *net.TCPConn) {
	var question token
	if _, err := io.ReadFull(conn, question[:]); err != nil {
		return
	}
	v := ls.records[question]
	if v == nil {
		return
	}
	local := unmapped(conn.LocalAddr().(*net.TCPAddr).AddrPort())
	dst, err := netutil.OriginalDst(conn)
	if err != nil {
		dst = local // nothing has tracked it, so nothing has rewritten it
	}
	v.arrive(arrival{at: l, dst: dst, kept: dst == local})
	if _, err := conn.Write(v.answer[:]); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, int64(len(question))))
	}
}

// readPackets reads UDP packets.
func (ls *listeners) readPackets(l Listener, conn *net.UDPConn) {
	buf := make([]byte, len(packet(token{}))+1) // one byte more tells a longer packet
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // it is closed
		}
		if question, ok := asked(buf[:n]); ok {
			if v := ls.records[question]; v != nil {
				v.arrive(arrival{at: l})
				_, _ = conn.WriteToUDPAddrPort(packet(v.answer), from)
			}
		}
	}
}

// missing returns why a probe cannot be evaluated: the listener where it must arrive, or
// one where it must not, could not be opened.
func (ls *listeners) missing(p Probe) error {
	for _, l := range ls.unavailable {
		needed := p.Want == Target{} && l.At == p.To
		if l.Proxy && p.Family.Has(l.At.Addr()) {
			query := p.To.Port() == capture.DNSPort || l.At.Port() != capture.DNSProxyPort
			needed = needed || p.Want.Port == l.At.Port() || p.Want.Away && query
		}
		if needed && l.Proto == p.Proto {
			return l.err
		}
	}
	return nil
}

// packet is a token as UDP packet: behind the header of an answer to a DNS query that
// nobody sent (RFC 1035, section 4.1.1: bit QR), which a name server drops.
func packet(t token) []byte {
	const header, answers = 12, 0x80
	p := make([]byte, header+len(t))
	p[2] = answers
	copy(p[header:], t[:])
	return p
}

// asked returns the token of a packet.
func asked(p []byte) (t token, ok bool) {
	empty := packet(token{})
	if len(p) != len(empty) {
		return t, false
	}
	copy(t[:], p[len(p)-len(t):])
	return t, true
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
