// Command istio-init redirects a pod's TCP traffic through its sidecar proxy. It makes
// iptables rules from Istio's flags, previews them, installs them in the pod's network
// namespace in one transaction, and removes them.
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

// run runs the program and returns its exit code. SIGINT, SIGTERM and SIGHUP cancel its context;
// further signals are ignored to the end, so that a rollback completes.
func run() int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as by nohup(1)
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, _ := signal.NotifyContext(context.Background(), ends...)
	// A reader of stdout or stderr that goes away is an error of the write, and does not end the
	// run between two steps. The programs that are started keep the default.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	_ = netutil.RaiseCaps() // a missing capability is an error where it is needed
	return execute(ctx, streams{
		args:    os.Args,
		env:     os.LookupEnv,
		environ: os.Environ(),
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
	})
}
