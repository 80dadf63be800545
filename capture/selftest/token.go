package selftest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
)

// A token is the random bytes of one connection.
type token [16]byte

// newToken returns a token that no other program answers with by chance. The source is
// ChaCha8, seeded by the kernel; the token is no secret, so crypto/rand is not needed.
func newToken() (t token) {
	binary.NativeEndian.PutUint64(t[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(t[8:], rand.Uint64())
	return t
}

// A record is the tokens of a connection and where it arrived. It may be used by
// several goroutines.
type record struct {
	question, answer token
	arrived          chan struct{} // closed when it arrived

	once  sync.Once
	where arrival // valid once it arrived
}

// An arrival is where a connection arrived.
type arrival struct {
	at   Listener
	dst  netip.AddrPort // where it was sent; not valid: not known, as of UDP
	kept bool           // its destination was not rewritten
}

// arrive records where the connection arrived; the first time counts.
func (v *record) arrive(a arrival) {
	v.once.Do(func() {
		v.where = a
		close(v.arrived)
	})
}

// seen returns where the connection arrived, if it did.
func (v *record) seen() (arrival, bool) {
	select {
	case <-v.arrived:
		return v.where, true
	default:
		return arrival{}, false
	}
}

// records are the records of a run, by the token that the client sends.
type records map[token]*record

// expect adds a record. All are added before anything listens.
func (ts records) expect() *record {
	v := &record{question: newToken(), answer: newToken(), arrived: make(chan struct{})}
	ts[v.question] = v
	return v
}
