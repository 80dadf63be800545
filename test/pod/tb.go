package pod

import "context"

// A TB is the part of testing.TB that the pod needs. A program can implement it too.
type TB interface {
	Helper()
	Fatalf(format string, args ...any) // does not return
	Cleanup(fn func())                 // calls fn at the end, the last one first
	TempDir() string                   // a new directory, removed at the end
	Context() context.Context          // canceled before the end
}
