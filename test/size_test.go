package test

import (
	"os"
	"testing"
)

// The maximum sizes of the programs.
const (
	mostBytes    = 8_000_000
	mostCNIBytes = 9_000_000
)

func TestBinarySize(t *testing.T) {
	t.Parallel()
	for path, most := range map[string]int64{built: mostBytes, cniProgram(t): mostCNIBytes} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > most {
			t.Errorf("%s has %d bytes, want at most %d", path, info.Size(), most)
		}
	}
}
