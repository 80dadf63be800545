package netutil

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInNetNSRefusesOtherFiles has a FIFO too, whose open would wait for ever.
func TestInNetNSRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, fifo, file, "/dev/null", "/proc/self/ns/uts"} {
		err := InNetNS(path, func() error {
			t.Errorf("%s was entered", path)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), path+": it is not the file of a network namespace") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
