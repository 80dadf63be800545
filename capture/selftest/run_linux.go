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

// Run makes the connections of some plans, all at the same time, in the network
// namespace of the calling thread, and returns what became of each, in their order.
// What has no end when the context has one has failed. When it returns all sockets
// are closed and no goroutine is left.
func Run(ctx context.Context, plans ...Plan) []Result {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	r := &run{ctx: ctx, desk: &desk{ctx: ctx, visits: visits{}, wg: &wg}}
	for _, plan := range plans {
		for _, p := range plan.Probes {
			r.attempts = append(r.attempts, &attempt{probe: p, visit: r.desk.visits.expect()})
		}
		r.controls = append(r.controls, r.controlsOf(plan)...)
	}
	for _, plan := range plans {
		for _, l := range plan.Listeners {
			r.desk.listen(l)
		}
	}
	return r.results()
}

// A run is one run.
type run struct {
	ctx      context.Context
	desk     *desk
	attempts []*attempt
	controls []*attempt
}

// An attempt is a probe being made.
type attempt struct {
	probe Probe
	visit *visit
	conn  *netutil.Conn // nil: it was not begun
	seen  observation
}

// An observation is what was seen of a probe.
type observation struct {
	unmade   error // why it was not begun
	arrival        // meaningful when it arrived
	arrived  bool
	answered bool  // the client has its answer
	err      error // what ended it otherwise
	// control tells that a connection begun later has arrived wherever this one
	// might have come to.
	control bool
}

// controlsOf are the control connections of a plan: one to each port of the proxy.
func (r *run) controlsOf(plan Plan) []*attempt {
	var controls []*attempt
	for _, l := range plan.Listeners {
		if l.Proxy {
			to := netip.AddrPortFrom(plan.Family.Localhost(), l.At.Port())
			probe := Probe{Family: plan.Family, Who: plan.Self, Proto: l.Proto, To: to, Lands: Landing{Port: to.Port()}}
			controls = append(controls, &attempt{probe: probe, visit: r.desk.visits.expect()})
		}
	}
	return controls
}

// results makes the connections. The first packets of all leave one after the other,
// those of the controls last, and then all are waited for.
func (r *run) results() []Result {
	for _, a := range r.attempts {
		r.begin(a)
	}
	for _, c := range r.controls {
		r.begin(c)
	}
	controlled, done := context.WithCancel(r.ctx)
	defer done()
	var controls, attempts sync.WaitGroup
	for _, a := range r.attempts {
		attempts.Go(func() { r.finish(controlled, a) })
	}
	for _, c := range r.controls {
		controls.Go(func() { r.finish(controlled, c) })
	}
	controls.Wait()
	done()
	attempts.Wait()
	var results []Result
	for _, a := range r.attempts {
		a.seen.control = r.controlled(a.probe)
		results = append(results, judge(a.probe, a.seen))
	}
	return results
}

// begin sends the first packet of a connection.
func (r *run) begin(a *attempt) {
	if a.probe.Lack != "" {
		return
	}
	if a.seen.unmade = r.desk.missing(a.probe); a.seen.unmade != nil {
		return
	}
	socket := netutil.Socket{Transparent: a.probe.foreign(), Mark: a.probe.Mark, Hops: oneHop}
	err := netutil.AsOwner(a.probe.Who.UID, a.probe.Who.GID, func() (err error) {
		a.conn, err = socket.Connect(a.probe.Proto.String(), a.probe.From, a.probe.To)
		return err
	})
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) && a.probe.From == capture.Passthrough(a.probe.Family):
		a.seen.err = err // then an inbound connection fails, too
	case err != nil:
		a.seen.unmade = err
	}
}

// finish sees a connection through. One that must leave the pod has no end by
// itself: it is given up when the controls are there and it is not connected.
func (r *run) finish(controlled context.Context, a *attempt) {
	if a.conn == nil {
		return
	}
	defer a.conn.Close()
	giveUp := func() { _ = a.conn.SetDeadline(time.Unix(1, 0)) } // long ago
	defer context.AfterFunc(r.ctx, giveUp)()
	if a.probe.Lands.Away {
		defer context.AfterFunc(controlled, func() {
			if a.probe.Proto == iptables.UDP || !a.conn.Connected() {
				giveUp()
			}
		})()
	}
	a.seen.answered, a.seen.err = r.exchange(a)
	a.seen.arrival, a.seen.arrived = a.visit.seen()
}

// errStranger is that of an answer that is not from a listener of ours.
var errStranger = errors.New("somebody else answered")

// exchange sends the token and waits for the answer.
func (r *run) exchange(a *attempt) (answered bool, err error) {
	question, answer := a.visit.question[:], a.visit.answer[:]
	if a.probe.Proto == iptables.UDP {
		question, answer = packet(a.visit.question), packet(a.visit.answer)
	}
	if _, err := a.conn.Write(question); err != nil {
		return false, ended(err)
	}
	if a.probe.OneWay {
		select {
		case <-a.visit.arrived:
		case <-r.ctx.Done():
		}
		return false, nil
	}
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(a.conn, got); err != nil {
		return false, ended(err)
	}
	if string(got) != string(answer) {
		return false, errStranger
	}
	return true, nil
}

// ended returns what ended an exchange, less the names of its files.
func ended(err error) error {
	var path *os.PathError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errStranger // a listener of ours answers all of ours
	case errors.As(err, &path):
		return path.Err
	}
	return fmt.Errorf("exchange tokens: %w", err)
}

// controlled tells whether every control is there that a probe needs.
func (r *run) controlled(p Probe) bool {
	for _, c := range r.controls {
		if c.probe.Family == p.Family && c.probe.Proto == p.Proto && c.conn != nil && !c.seen.arrived {
			return false
		}
	}
	return true
}
