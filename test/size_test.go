package test

import (
	"os"
	"testing"
)

// mostBytes is the maximum size of the program.
const mostBytes = 7_500_000

func TestBinarySize(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(built)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > mostBytes {
		t.Errorf("%d bytes, want at most %d", info.Size(), mostBytes)
	}
}
