package test

import (
	"os"
	"strings"
	"testing"

	"istio-init/test/kernel"
)

// BenchmarkStart is what does nothing but answer.
func BenchmarkStart(b *testing.B) {
	all := newBench(b)
	for _, line := range [][]string{{"--help"}, {"version"}, append([]string{"--dry-run"}, sidecar[1:]...)} {
		b.Run(line[0], func(b *testing.B) {
			s, ns := all.in(b), kernel.NewNetNS(b)
			var costs pair
			for b.Loop() {
				costs.add(func() cost { return s.run(ns, step{{path: s.ours, args: line}}) }, func() cost { return s.run(ns, step{{path: s.idle}}) })
			}
			costs.report(b, "")
		})
	}
}

// mostBytes is how large the program may be.
const mostBytes = 7_000_000

func TestTheProgramIsSmall(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(built)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > mostBytes {
		t.Errorf("%d bytes, want at most %d", info.Size(), mostBytes)
	}
}

func TestTheEnvironmentOfBenchmarksIsThatOfTheImage(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if line := "\nENV " + strings.Join(imageEnv, " ") + "\n"; strings.Count(string(dockerfile), "\nENV") != 1 || !strings.Contains(string(dockerfile), line) {
		t.Errorf("want the Dockerfile to have one line of ENV, which is %q", line)
	}
}
