// Command istio-init redirects a pod's TCP traffic through its sidecar proxy. It
// turns Istio's flags into iptables rules, previews them, puts them into the
// pod's network namespace in one transaction, and takes them out again.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"istio-init/netutil"
)

func main() {
	os.Exit(run())
}

// run is the program but for its exit. A signal to end ends its context. Further signals
// do nothing: what is being taken back is taken back.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_ = netutil.RaiseCaps() // a capability that is missing is named where it is needed
	return execute(ctx, streams{
		args:   os.Args,
		env:    os.LookupEnv,
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
	})
}
