package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"istio-init/netutil"
	"istio-init/test/kernel"
)

// A command is one run of a program.
type command struct {
	path  string
	args  []string
	stdin string // a file; "": nothing is read
}

// A step is commands that are started at the same time.
type step []command

// A cost is what steps took: the time until their last program ended, and the CPU time
// of all their processes.
type cost struct{ wall, cpu time.Duration }

// A bench is where commands are measured, with the programs that they are compared
// to.
type bench struct {
	b                *testing.B
	ours, idle, bare string
	env              []string
	said             *os.File // output of programs that fail
}

// imageEnv is the environment of the image; see the Dockerfile.
var imageEnv = []string{"PATH=/usr/local/bin:/usr/sbin"}

// newBench builds the programs. It has its own lock file, so that no run waits for
// another process of the machine.
func newBench(b *testing.B) *bench {
	b.Helper()
	kernel.Need(b)
	dir := b.TempDir()
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { said.Close() })
	return &bench{
		b: b, ours: released(b, source), idle: released(b, top+"hack/bench/idle"), bare: released(b, top+"hack/bench/bare"),
		env:  append(slices.Clone(imageEnv), "XTABLES_LOCKFILE="+filepath.Join(dir, "lock")),
		said: said,
	}
}

// in returns a copy for a sub-benchmark.
func (s *bench) in(b *testing.B) *bench {
	b.Helper()
	part := *s
	part.b = b
	return &part
}

// released builds a program as make build does, and copies it as an installation does.
// The copy matters: the page cache of a file that the linker wrote has single pages.
func released(t testing.TB, dir string) string {
	t.Helper()
	linked, path := filepath.Join(t.TempDir(), "linked"), filepath.Join(t.TempDir(), "program")
	if err := build(linked, dir); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(linked)
	if err == nil {
		err = os.WriteFile(path, program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// file writes a text to a file and returns its path.
func (s *bench) file(text string) string {
	s.b.Helper()
	path := filepath.Join(s.b.TempDir(), "text")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		s.b.Fatal(err)
	}
	return path
}

// start starts commands in a namespace.
func (s *bench) start(ns *kernel.NetNS, commands step) (running []*exec.Cmd, began time.Time) {
	s.b.Helper()
	for _, c := range commands {
		cmd := exec.Command(c.path, c.args...)
		cmd.Env, cmd.Stderr = s.env, s.said
		if c.stdin != "" {
			file, err := os.Open(c.stdin)
			if err != nil {
				s.b.Fatal(err)
			}
			defer file.Close()
			cmd.Stdin = file
		}
		running = append(running, cmd)
	}
	err := netutil.InNetNS(ns.Path(), func() error {
		began = time.Now()
		for _, cmd := range running {
			if err := cmd.Start(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.b.Fatal(err)
	}
	return running, began
}

// wait waits for commands, all of which have to succeed, and returns their CPU time.
func (s *bench) wait(running []*exec.Cmd) (cpu time.Duration) {
	s.b.Helper()
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			said, _ := os.ReadFile(s.said.Name())
			s.b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, said)
		}
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return cpu
}

// run runs steps one after the other and returns what they cost.
func (s *bench) run(ns *kernel.NetNS, steps ...step) (sum cost) {
	s.b.Helper()
	for _, commands := range steps {
		running, began := s.start(ns, commands)
		sum.cpu += s.wait(running)
		sum.wall += time.Since(began)
	}
	return sum
}

// peak returns the resident memory, in MB, of the largest process of a step.
func (s *bench) peak(ns *kernel.NetNS, c command) float64 {
	s.b.Helper()
	var out []byte
	ns.Do(s.b, func() (err error) {
		cmd := exec.Command(s.bare, append([]string{c.path}, c.args...)...)
		cmd.Env = s.env
		out, err = cmd.Output()
		return err
	})
	kb, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		s.b.Fatalf("%v: %s", err, out)
	}
	return float64(kb) / 1000
}

// A sample has the costs of repeated runs.
type sample []cost

// A pair has the samples of the program and of its lower bound.
type pair struct{ ours, bound sample }

// add measures both once more, alternating which is first: the second one has warm
// caches.
func (p *pair) add(ours, bound func() cost) {
	if len(p.ours)%2 == 0 {
		p.ours = append(p.ours, ours())
		p.bound = append(p.bound, bound())
		return
	}
	p.bound = append(p.bound, bound())
	p.ours = append(p.ours, ours())
}

// median returns the median of each part.
func (s sample) median() cost {
	of := func(part func(cost) time.Duration) time.Duration {
		var all []time.Duration
		for _, c := range s {
			all = append(all, part(c))
		}
		return median(all)
	}
	return cost{of(func(c cost) time.Duration { return c.wall }), of(func(c cost) time.Duration { return c.cpu })}
}

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}

// report reports the costs of the program, and their ratio to the lower bound.
func (p *pair) report(b *testing.B, prefix string) {
	b.Helper()
	o, f := p.ours.median(), p.bound.median()
	b.ReportMetric(0, "ns/op") // the time of a round has no meaning
	b.ReportMetric(o.wall.Seconds()*1000, prefix+"ms")
	b.ReportMetric(o.wall.Seconds()/f.wall.Seconds(), prefix+"ratio")
	b.ReportMetric(o.cpu.Seconds()/f.cpu.Seconds(), prefix+"cpu-ratio")
}
