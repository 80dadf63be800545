package pod

import "context"

// A TB is what the pod needs of whoever builds it. A *testing.T is one; a program
// that is no test can be one too.
type TB interface {
	Helper()
	Fatalf(format string, args ...any) // does not return
	Cleanup(fn func())                 // calls fn at the end, the last one first
	TempDir() string                   // a new directory, removed at the end
	Context() context.Context          // canceled before the end
}
