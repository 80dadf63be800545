// Command demo shows the main job on real traffic, with nothing prepared: it
// previews the rules of a sidecar, applies them in a network namespace of its own,
// makes connections through a tiny proxy, and takes everything away again.
//
// Run it as root from the top of the repository: make demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// program is what make build makes.
const program = "bin/istio-init"

// patience bounds the whole of it.
const patience = 2 * time.Minute

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if os.Geteuid() != 0 {
		return errors.New("it makes network namespaces, which needs root: run sudo make demo")
	}
	path, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("the program is not built, run make demo: %w", err)
	}
	if err := install(ctx); err != nil {
		return err
	}
	ctx, cancelLate := context.WithTimeout(ctx, patience)
	defer cancelLate()
	return onStage(ctx, func(s *stage) error { return show(s, path) })
}
