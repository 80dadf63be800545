// Command istio-init redirects a pod's TCP traffic through its sidecar proxy. It
// turns Istio's flags into iptables rules, previews them, puts them into the
// pod's network namespace in one transaction, and takes them out again.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"istio-init/netutil"
)

// garbage is how much may be made, in percent of what is in use, before it is
// collected. A run is short and needs little: with 5,000 prefixes it makes 15 MB
// in all, and collecting them in between takes a fifth of its processor time.
const garbage = 400

func main() {
	debug.SetGCPercent(garbage)
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

// untilSignal returns a context that a signal to end cancels. To catch signals
// costs threads, which what neither waits nor changes anything does without.
func untilSignal(ctx context.Context) (_ context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
