package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"istio-init/netutil"
)

// release is the version that the build was told; "": that of its build info.
var release string // the linker writes it: go build -ldflags '-X main.release=v1.2.3'

func main() {
	os.Exit(run())
}

// run runs the plugin or a command and returns the exit code.
func run() int {
	_ = netutil.RaiseCaps() // a missing capability is an error where it is needed
	if command := os.Getenv("CNI_COMMAND"); command != "" {
		return runPlugin(context.Background(), command, os.Stdin, os.Stdout, os.Stderr)
	}
	ctx, stop := onSignals(context.Background())
	defer stop()
	return runCommand(ctx, os.Args[1:])
}

// onSignals returns a context that SIGINT and SIGTERM cancel. Further signals are ignored until
// stop is called, so that a rollback completes.
func onSignals(ctx context.Context) (_ context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
