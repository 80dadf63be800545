// Package load makes continuous connections while a test changes rules, and counts their
// outcomes. It needs root.
package load

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"istio-init/test/flow"
	"istio-init/test/pod"
)

// A Load has servers that send one byte which identifies them, and clients that connect to
// them continuously and check the byte. It ends with the test, or by Stop.
type Load struct {
	timeout time.Duration // how long a client waits for each answer
	stopped atomic.Bool
	served  sync.Map // the connections of the servers; some clients left without an answer

	clients, servers, answers sync.WaitGroup

	mu    sync.Mutex
	tally Tally
}

// A Tally counts connections by their outcomes.
type Tally struct {
	Captured int            // accepted by the expected server
	Escaped  int            // accepted by another server
	Failed   map[string]int // by the failed step and its error
	Resent   int            // accepted after a retransmission
}

// Total returns how many connections were tried.
func (c Tally) Total() int { return c.Captured + c.Escaped + c.Failures() }

// Failures returns how many connections no server accepted.
func (c Tally) Failures() (n int) {
	for _, count := range c.Failed {
		n += count
	}
	return n
}

// Since returns the difference to a previous tally.
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

// New returns a load without servers and clients. timeout limits the wait of a client for
// each answer.
func New(t pod.TB, timeout time.Duration) *Load {
	l := &Load{timeout: timeout, tally: Tally{Failed: map[string]int{}}}
	t.Cleanup(func() {
		l.Stop()
		l.servers.Wait() // their listeners were closed before
		l.served.Range(func(conn, _ any) bool {
			_ = conn.(*net.TCPConn).Close()
			return true
		})
		l.answers.Wait()
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

// Serve sends one byte on each connection to an address, and one more for each byte that
// it reads.
func (l *Load) Serve(t pod.TB, node *pod.Node, who flow.Identity, at netip.AddrPort, transparent bool, says byte) {
	t.Helper()
	listener := node.Listen(t, who, at, transparent)
	l.servers.Go(func() {
		for {
			conn, err := listener.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil { // else the client has already closed it
				l.served.Store(conn, nil)
				l.answers.Go(func() { l.sayOnAndOn(conn, says) })
			}
		}
	})
}

func (l *Load) sayOnAndOn(conn *net.TCPConn, says byte) {
	defer l.served.Delete(conn)
	defer conn.Close()
	heard := make([]byte, 1)
	for {
		if _, err := conn.Write([]byte{says}); err != nil {
			return
		}
		if _, err := conn.Read(heard); err != nil {
			return
		}
	}
}

// A Route is a path from a client to a server. If From is set, the client uses one port
// after the other: conntrack keeps an entry for 10 seconds after the end of a connection,
// and a packet from the same port may be assigned to it, and be captured or not like the
// old connection.
type Route struct {
	From netip.Addr
	To   netip.AddrPort
}

// keptEvery is the number of new connections between two uses of a kept one.
const keptEvery = 16

// Connect starts a client that connects by the routes in turn, as a user of a namespace,
// and expects that byte. For each route it also keeps one connection open. It has its own
// thread.
func (l *Load) Connect(node *pod.Node, who flow.Identity, want byte, routes ...Route) {
	l.clients.Go(func() {
		err := node.As(who, func() error {
			kept := make([]kept, len(routes))
			for i := 0; !l.stopped.Load(); i++ {
				r := i % len(routes)
				l.count(want)(l.connectOnce(routes[r], i/len(routes)))
				if i/len(routes)%keptEvery == 0 {
					says, err := l.use(&kept[r], routes[r])
					l.count(want)(says, false, err)
				}
			}
			for _, k := range kept {
				k.end()
			}
			return nil
		})
		if err != nil {
			l.count(want)(0, false, err)
		}
	})
}

// A kept is a connection that is used repeatedly, and replaced when it breaks.
type kept struct {
	client
	open   bool
	breaks int
}

func (k *kept) end() {
	if k.open {
		k.close()
		k.open = false
		k.breaks++
	}
}

// use checks the server of a kept connection again.
func (l *Load) use(k *kept, r Route) (says byte, err error) {
	if !k.open {
		if k.client, err = l.dial(r, -1-k.breaks); err != nil {
			return 0, err
		}
		k.open = true
	}
	if says, err = k.ask(); err != nil {
		k.end()
		return 0, fmt.Errorf("kept connection to %s: %w", r.To, err)
	}
	return says, nil
}

// count returns the function that counts the outcome of a connection.
func (l *Load) count(want byte) func(says byte, resent bool, err error) {
	return func(says byte, resent bool, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case err != nil:
			l.tally.Failed[err.Error()]++
		case says == want:
			l.tally.Captured++
		default:
			l.tally.Escaped++
		}
		if resent {
			l.tally.Resent++
		}
	}
}
