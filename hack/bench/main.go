// Command bench measures what istio-init costs, in one alternating run: each program takes its
// turn with the lower bound and with programs of others, so that only ratios count. It writes
// a table, and all medians as JSON. It needs root, iptables and strace; see docs/benchmarks.md.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A bench is where commands are measured.
type bench struct {
	dir                    string
	ours, cni, idle, small string // programs
	bound                  lowerBound
	peers                  map[string]string // programs of others, by name
	rounds                 int
	log                    *log
}

func main() {
	rounds := flag.Int("rounds", 15, "`how often` each run is measured")
	out := flag.String("out", "bin/bench.json", "the `file` for the medians")
	others := flag.String("peers", "", "a `directory` with programs of others")
	document := flag.String("document", "", "measure nothing: write the table and the limits of -out into this `file`, and draw its plot beside it")
	flag.Parse()
	do := func() error { return measure(*rounds, *out, *others) }
	if *document != "" {
		do = func() error { return publish(*out, *document) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(rounds int, out, others string) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{dir: dir, rounds: rounds}
	if err := b.prepare(others); err != nil {
		return err
	}
	defer b.log.stderr.Close()
	r := &Result{Machine: machine(), Rounds: rounds}
	for _, part := range []func(*Result) error{b.measureWorkloads, b.measurePods, b.measureConnections} {
		if err := part(r); err != nil {
			return err
		}
	}
	fmt.Print(r.text())
	return r.write(out)
}

// prepare builds the programs.
func (b *bench) prepare(others string) (err error) {
	if b.log, err = openLog(); err != nil {
		return err
	}
	for _, p := range []struct {
		path   *string
		source string
	}{{&b.ours, "./cmd/istio-init"}, {&b.cni, "./cmd/istio-cni"}, {&b.idle, "./hack/bench/idle"}, {&b.small, "./hack/bench/bare"}, {&b.bound.send, "./hack/bench/netlink"}} {
		if *p.path, err = b.build(p.source); err != nil {
			return err
		}
	}
	b.bound.dir, b.peers = b.dir, peersIn(others)
	return nil
}

// peersIn returns the programs of others in a directory, by name; "": none.
func peersIn(dir string) map[string]string {
	found := map[string]string{}
	for name := range peers {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); dir != "" && err == nil {
			found[name] = path
		}
	}
	return found
}

// build builds a program as make build does, and copies it as an installation does. The copy
// matters: the page cache of a file that the linker wrote has single pages.
func (b *bench) build(source string) (string, error) {
	linked, path := filepath.Join(b.dir, "linked"), filepath.Join(b.dir, filepath.Base(source))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", linked, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, text)
	}
	program, err := os.ReadFile(linked)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, program, 0o755)
}

// A candidate is a program that does the actions of a workload.
type candidate struct {
	workload
	name    string
	steps   map[string][]step // by action
	samples map[string][]cost // likewise
}

func newCandidate(w workload, name string) candidate {
	return candidate{w, name, map[string][]step{}, map[string][]cost{}}
}

// candidates are our program, the idle one, what the kernel needs, and programs of others.
func (b *bench) candidates(w workload) (all []candidate, err error) {
	ours, idle, bare := newCandidate(w, "istio-init"), newCandidate(w, "idle"), newCandidate(w, "bare")
	for _, action := range actions {
		ours.steps[action] = []step{{{path: b.ours, args: w.args(action)}}}
		idle.steps[action] = []step{{{path: b.idle}}}
		if bare.steps[action], err = b.bound.steps(w, action); err != nil {
			return nil, fmt.Errorf("%s: %w", w.Config, err)
		}
	}
	all = []candidate{ours, idle, bare}
	if w.Config != configs[0].name {
		return all, nil
	}
	for _, name := range slices.Sorted(maps.Keys(b.peers)) {
		peer := newCandidate(w, name)
		for action, args := range peers[name](w) {
			peer.steps[action] = []step{{{path: b.peers[name], args: args}}}
		}
		if err := b.measureOnce(peer); err != nil {
			why, _, _ := strings.Cut(err.Error(), "\n")
			fmt.Fprintln(os.Stderr, "left out:", why)
			continue
		}
		clear(peer.samples)
		all = append(all, peer)
	}
	return all, nil
}

// measureWorkloads measures the workloads of each configuration and family in rounds. In a round the
// candidates of all backends take turns, since a machine's speed drifts; another one begins each.
func (b *bench) measureWorkloads(r *Result) error {
	for _, group := range workloads() {
		var all []candidate
		for _, w := range group {
			more, err := b.candidates(w)
			if err != nil {
				return err
			}
			all = append(all, more...)
		}
		for round := range b.rounds {
			for i := range all {
				if err := b.measureOnce(all[(i+round)%len(all)]); err != nil {
					return err
				}
			}
		}
		for _, c := range all {
			if err := b.record(r, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureOnce measures the actions of a candidate in a new namespace.
func (b *bench) measureOnce(c candidate) error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	defer ns.close()
	for _, action := range actions {
		if len(c.steps[action]) == 0 {
			continue
		}
		sum, err := b.run(ns, c.steps[action])
		if err != nil {
			return err
		}
		c.samples[action] = append(c.samples[action], sum)
	}
	return nil
}

// record adds the medians of a candidate, with the memory it needs and what it asks of the
// kernel, which do not differ from run to run.
func (b *bench) record(r *Result, c candidate) error {
	memory, err := newNamespace()
	if err != nil {
		return err
	}
	defer memory.close()
	traced, err := newNamespace()
	if err != nil {
		return err
	}
	defer traced.close()
	for _, action := range actions {
		if len(c.samples[action]) == 0 {
			continue
		}
		row := Run{workload: c.workload, Action: action, Program: c.name}
		row.Wall, row.CPU = medians(c.samples[action])
		if c.name != "bare" { // which is several programs
			program := c.steps[action][0][0]
			if row.Peak, err = b.peak(memory, program); err != nil {
				return err
			}
			if row.counts, err = b.count(traced, program); err != nil {
				return err
			}
		}
		r.Runs = append(r.Runs, row)
	}
	return nil
}
