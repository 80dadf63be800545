// Command istio-init redirects a pod's TCP traffic through its sidecar proxy. It
// turns Istio's flags into iptables rules, previews them, puts them into the
// pod's network namespace in one transaction, and takes them out again.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"istio-init/netutil"
)

func main() {
	os.Exit(run())
}

// run is the program but for its exit.
func run() int {
	_ = netutil.RaiseCaps() // a capability that is missing is named where it is needed
	return execute(context.Background(), process{
		args:   os.Args,
		env:    os.LookupEnv,
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
	})
}

// patience is for how long a run does not listen to signals: for as long as one takes
// that waits for nobody, which is over before anybody could want it to end. To listen
// takes threads, and 8 % of the processor time of such a run.
const patience = 20 * time.Millisecond

// untilSignal returns a context that a signal to end cancels, once the run takes long;
// then it calls listening. Before that such a signal kills the program, which leaves
// what the next run mends, as SIGKILL does at any time. Further signals do nothing until
// stop is called: what is being taken back is taken back.
func untilSignal(ctx context.Context, listening func()) (_ context.Context, stop context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	late := time.AfterFunc(patience, func() {
		signalled, deafen := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer deafen()
		listening()
		<-signalled.Done()
		cancel(context.Cause(signalled))
		<-ended
	})
	return ctx, func() {
		late.Stop()
		cancel(nil)
		close(ended)
	}
}
