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

// run runs the plugin or a command and returns the exit code. SIGINT and SIGTERM cancel its
// context; further signals are ignored, so that a rollback completes.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	_ = netutil.RaiseCaps() // a missing capability is an error where it is needed
	if command := os.Getenv("CNI_COMMAND"); command != "" {
		return runPlugin(ctx, command, os.Stdout, os.Stderr)
	}
	return runCommand(ctx, os.Args[1:])
}
