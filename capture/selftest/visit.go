package selftest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
)

// A token is the random words of one connection.
type token [16]byte

// newToken returns one that nobody happens to answer with: the source is ChaCha8,
// seeded by the kernel. It keeps no secret, for which crypto/rand would be.
func newToken() (t token) {
	binary.NativeEndian.PutUint64(t[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(t[8:], rand.Uint64())
	return t
}

// A visit is what a connection is known by, and what was seen of it where it
// arrived. It may be used by several goroutines.
type visit struct {
	question, answer token
	arrived          chan struct{} // closed when it has arrived somewhere

	once  sync.Once
	where arrival // to be read once it has arrived
}

// An arrival is where a connection came to.
type arrival struct {
	at   Listener
	dst  netip.AddrPort // where it was sent; not valid: not known, as of UDP
	kept bool           // its destination was not rewritten
}

// arrive notes where the connection came to; the first time counts.
func (v *visit) arrive(a arrival) {
	v.once.Do(func() {
		v.where = a
		close(v.arrived)
	})
}

// seen returns where the connection came to, if it has.
func (v *visit) seen() (arrival, bool) {
	select {
	case <-v.arrived:
		return v.where, true
	default:
		return arrival{}, false
	}
}

// visits are those of a run, by their question.
type visits map[token]*visit

// expect makes a new visit. All are made before anything listens.
func (vs visits) expect() *visit {
	v := &visit{question: newToken(), answer: newToken(), arrived: make(chan struct{})}
	vs[v.question] = v
	return v
}
