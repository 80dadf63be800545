package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
)

// A stage is what the pod is built on, as it is on a test elsewhere: it undoes at
// the end what was set up.
type stage struct {
	ctx  context.Context
	undo []func()
	err  error
}

// onStage runs a show and clears up after it, however it ends.
func onStage(ctx context.Context, show func(*stage) error) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{ctx: ctx}
	done := make(chan struct{})
	go func() { // a goroutine of its own, which Fatalf can end
		defer close(done)
		defer s.clear()
		defer cancel()
		s.err = show(s)
	}()
	<-done
	return s.err
}

func (s *stage) clear() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
}

// Helper has nothing to do: there are no line numbers to report.
func (s *stage) Helper() {}

// Fatalf ends the show.
func (s *stage) Fatalf(format string, args ...any) {
	s.err = fmt.Errorf(format, args...)
	runtime.Goexit()
}

// Cleanup has fn called at the end.
func (s *stage) Cleanup(fn func()) { s.undo = append(s.undo, fn) }

// TempDir makes a directory that is removed at the end.
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "istio-init-demo-")
	if err != nil {
		s.Fatalf("make a directory: %w", err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Context returns the context of the show.
func (s *stage) Context() context.Context { return s.ctx }
