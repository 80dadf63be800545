package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
)

// Run makes the connections of plans, all at the same time, in the network namespace of
// the calling thread, and returns the outcome of each, in their order. A connection
// that is not finished when the context ends has failed. When Run returns, all sockets
// are closed and no goroutine is left.
func Run(ctx context.Context, plans ...Plan) []Result {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	r := &run{listeners: &listeners{records: records{}, wg: &wg}}
	for _, plan := range plans {
		for _, p := range plan.Probes {
			r.attempts = append(r.attempts, &attempt{probe: p, record: r.listeners.records.expect()})
		}
		r.controls = append(r.controls, r.controlsOf(plan)...)
	}
	for _, plan := range plans {
		for _, l := range plan.Listeners {
			r.listeners.listen(ctx, l)
		}
	}
	return r.results(ctx)
}

// A run is the connections of one call of [Run].
type run struct {
	listeners *listeners
	attempts  []*attempt
	controls  []*attempt
}

// An attempt is a probe being made.
type attempt struct {
	probe  Probe
	record *record
	conn   *netutil.Conn // nil: it was not begun
	seen   observation
}

// An observation is what was observed of a probe.
type observation struct {
	dialErr  error // why it was not begun
	arrival        // valid if it arrived
	arrived  bool
	answered bool  // the client has its answer
	err      error // what ended it otherwise
	// control reports whether a connection begun later has arrived at each listener
	// where this one might have.
	control bool
}

// controlsOf are the control connections of a plan: one to each port of the proxy.
func (r *run) controlsOf(plan Plan) []*attempt {
	var controls []*attempt
	for _, l := range plan.Listeners {
		if l.Proxy {
			to := netip.AddrPortFrom(plan.Family.Localhost(), l.At.Port())
			probe := Probe{Family: plan.Family, Who: plan.Self, Proto: l.Proto, To: to, Want: Target{Port: to.Port()}}
			controls = append(controls, &attempt{probe: probe, record: r.listeners.records.expect()})
		}
	}
	return controls
}

// results makes the connections. The first packets leave one after the other, those of
// the controls last; then it waits for all.
func (r *run) results(ctx context.Context) []Result {
	for _, a := range r.attempts {
		r.begin(a)
	}
	for _, c := range r.controls {
		r.begin(c)
	}
	controlled, done := context.WithCancel(ctx)
	defer done()
	var controls, attempts sync.WaitGroup
	for _, a := range r.attempts {
		attempts.Go(func() { r.finish(ctx, controlled, a) })
	}
	for _, c := range r.controls {
		controls.Go(func() { r.finish(ctx, controlled, c) })
	}
	controls.Wait()
	done()
	attempts.Wait()
	var results []Result
	for _, a := range r.attempts {
		a.seen.control = r.controlled(a.probe)
		results = append(results, evaluate(a.probe, a.seen))
	}
	return results
}

// begin sends the first packet of a connection.
func (r *run) begin(a *attempt) {
	if a.probe.Skip != "" {
		return
	}
	if a.seen.dialErr = r.listeners.missing(a.probe); a.seen.dialErr != nil {
		return
	}
	socket := netutil.Socket{Transparent: a.probe.foreign(), Mark: a.probe.Mark, Hops: oneHop}
	err := netutil.AsOwner(a.probe.Who.UID, a.probe.Who.GID, func() (err error) {
		a.conn, err = socket.Connect(a.probe.Proto.String(), a.probe.From, a.probe.To)
		return err
	})
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) && a.probe.From == capture.Passthrough(a.probe.Family):
		a.seen.err = err // an inbound connection fails then, too
	case err != nil:
		a.seen.dialErr = err
	}
}

// finish exchanges the tokens of a connection. One that must leave the pod does not end
// by itself: it is closed when the controls have arrived and it is not connected.
func (r *run) finish(ctx, controlled context.Context, a *attempt) {
	if a.conn == nil {
		return
	}
	defer a.conn.Close()
	giveUp := func() { _ = a.conn.SetDeadline(time.Unix(1, 0)) } // long ago
	defer context.AfterFunc(ctx, giveUp)()
	if a.probe.Want.Away {
		defer context.AfterFunc(controlled, func() {
			if a.probe.Proto == iptables.UDP || !a.conn.Connected() {
				giveUp()
			}
		})()
	}
	a.seen.answered, a.seen.err = exchange(ctx, a)
	a.seen.arrival, a.seen.arrived = a.record.seen()
}

// errForeignAnswer is the error of an answer that is not from a listener of ours.
var errForeignAnswer = errors.New("another program answered")

// exchange sends the token and waits for the answer.
func exchange(ctx context.Context, a *attempt) (answered bool, err error) {
	question, answer := a.record.question[:], a.record.answer[:]
	if a.probe.Proto == iptables.UDP {
		question, answer = packet(a.record.question), packet(a.record.answer)
	}
	if _, err := a.conn.Write(question); err != nil {
		return false, ended(err)
	}
	if a.probe.OneWay {
		select {
		case <-a.record.arrived:
		case <-ctx.Done():
		}
		return false, nil
	}
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(a.conn, got); err != nil {
		return false, ended(err)
	}
	if string(got) != string(answer) {
		return false, errForeignAnswer
	}
	return true, nil
}

// ended returns what ended an exchange, without the names of its files.
func ended(err error) error {
	var path *os.PathError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errForeignAnswer // a listener of ours answers all of ours
	case errors.As(err, &path):
		return path.Err
	}
	return fmt.Errorf("exchange tokens: %w", err)
}

// controlled reports whether every control that a probe needs has arrived.
func (r *run) controlled(p Probe) bool {
	for _, c := range r.controls {
		if c.probe.Family == p.Family && c.probe.Proto == p.Proto && c.conn != nil && !c.seen.arrived {
			return false
		}
	}
	return true
}
