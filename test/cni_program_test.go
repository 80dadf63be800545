package test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// cniProgram returns the path of the CNI plugin, which is built once for the tests that run it,
// unless TEST_CNI_PROGRAM names one.
func cniProgram(t testing.TB) string {
	t.Helper()
	path, err := builtCNI()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var builtCNI = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TEST_CNI_PROGRAM"); path != "" {
		return path, nil
	}
	path := filepath.Join(programs, "istio-cni")
	return path, build(path, top+"cmd/istio-cni")
})
