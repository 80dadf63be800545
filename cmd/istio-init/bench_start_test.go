package main

import (
	"os"
	"strings"
	"testing"
)

// mostBytes is how large the program may be.
const mostBytes = 7_000_000

func TestTheProgramIsSmall(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(released(t, "."))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > mostBytes {
		t.Errorf("%d bytes, want at most %d", info.Size(), mostBytes)
	}
}

func TestTheEnvironmentOfBenchmarksIsThatOfTheImage(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if line := "\nENV " + strings.Join(imageEnv, " ") + "\n"; strings.Count(string(dockerfile), "\nENV") != 1 || !strings.Contains(string(dockerfile), line) {
		t.Errorf("want the Dockerfile to have one line of ENV, which is %q", line)
	}
}
