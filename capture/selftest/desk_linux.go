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

// oneHop is how far our packets go: to the next machine, and not beyond it.
const oneHop = 1

// mostVisitors is how many TCP connections a listener has at a time; what is more
// is not ours.
const mostVisitors = 256

// A desk takes the connections of a run. What it opens it closes when its context
// ends.
type desk struct {
	ctx    context.Context
	visits visits
	wg     *sync.WaitGroup
	shut   []shut // in the order of the plans
}

// shut is a place where nobody of ours listens, and why.
type shut struct {
	Listener
	why error
}

// listen opens a listener. That it cannot is kept for the probes that need it.
func (d *desk) listen(l Listener) {
	err := netutil.AsOwner(l.Who.UID, l.Who.GID, func() error {
		socket := netutil.Socket{Transparent: l.Transparent, Hops: oneHop}
		if l.Proto == iptables.UDP {
			conn, err := socket.ListenUDP(d.ctx, l.At)
			if err == nil {
				d.serve(conn, func() { d.readPackets(l, conn) })
			}
			return err
		}
		listener, err := socket.ListenTCP(d.ctx, l.At)
		if err == nil {
			d.serve(listener, func() { d.accept(l, listener) })
		}
		return err
	})
	if err != nil {
		d.shut = append(d.shut, shut{l, err})
	}
}

// serve runs a function and closes its socket: when it returns, or to make it return
// when the context ends.
func (d *desk) serve(socket io.Closer, run func()) {
	d.wg.Add(1)
	done := func() {
		_ = socket.Close()
		d.wg.Done()
	}
	stop := context.AfterFunc(d.ctx, done)
	d.wg.Go(func() {
		run()
		if stop() {
			done()
		}
	})
}

// accept takes TCP connections.
func (d *desk) accept(l Listener, listener *net.TCPListener) {
	var visitors atomic.Int32
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			return // it is closed
		}
		if visitors.Add(1) > mostVisitors {
			visitors.Add(-1)
			_ = conn.Close()
			continue
		}
		d.serve(conn, func() {
			defer visitors.Add(-1)
			d.talk(l, conn)
		})
	}
}

// talk hears who came, and answers those that are expected. The client closes.
func (d *desk) talk(l Listener, conn *net.TCPConn) {
	var question token
	if _, err := io.ReadFull(conn, question[:]); err != nil {
		return
	}
	v := d.visits[question]
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

// readPackets takes UDP packets.
func (d *desk) readPackets(l Listener, conn *net.UDPConn) {
	buf := make([]byte, len(packet(token{}))+1) // one byte more tells a longer packet
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // it is closed
		}
		if question, ok := asked(buf[:n]); ok {
			if v := d.visits[question]; v != nil {
				v.arrive(arrival{at: l})
				_, _ = conn.WriteToUDPAddrPort(packet(v.answer), from)
			}
		}
	}
}

// missing says why a probe cannot be judged: a place where it should come to, or one
// where it must not come to, is not ours.
func (d *desk) missing(p Probe) error {
	for _, l := range d.shut {
		needed := p.Lands == Landing{} && l.At == p.To
		if l.Proxy && p.Family.Has(l.At.Addr()) {
			lookup := p.To.Port() == capture.DNSPort || l.At.Port() != capture.DNSProxyPort
			needed = needed || p.Lands.Port == l.At.Port() || p.Lands.Away && lookup
		}
		if needed && l.Proto == p.Proto {
			return l.why
		}
	}
	return nil
}

// packet is a token as UDP packet: behind the header of an answer to a look-up that
// nobody made (RFC 1035, section 4.1.1: bit QR), which a name server drops.
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
