package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A Result is all that was measured. Times are medians.
type Result struct {
	Machine     string       `json:"machine"`
	Rounds      int          `json:"rounds"`
	Runs        []Run        `json:"runs"`
	Pods        []Pods       `json:"pods"`
	Connections []Connection `json:"connections"`
}

// A Run is one action of one program.
type Run struct {
	workload
	Action  string  `json:"action"`
	Program string  `json:"program"`
	Wall    Spread  `json:"wallMs"`
	CPU     Spread  `json:"cpuMs"`
	Peak    float64 `json:"peakMB,omitempty"`
	counts
}

// A Spread is a median with its quartiles.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func spreadOf(all []float64) Spread {
	slices.Sort(all)
	n := len(all)
	return Spread{all[n/2], all[n/4], all[3*n/4]}
}

func medians(samples []cost) (wall, cpu Spread) {
	var walls, cpus []float64
	for _, s := range samples {
		walls, cpus = append(walls, s.wall), append(cpus, s.cpu)
	}
	return spreadOf(walls), spreadOf(cpus)
}

// find returns a run of a program; one without a median where it was not measured.
func (r *Result) find(config, family, backend, action, program string) Run {
	for _, run := range r.Runs {
		if run.Config == config && run.Family == family && run.Backend == backend && run.Action == action && run.Program == program {
			return run
		}
	}
	return Run{}
}

// bound returns the wall and CPU time of the lower bound: the idle program, and then what
// the kernel needs.
func (r *Result) bound(of Run) cost {
	idle := r.find(of.Config, of.Family, of.Backend, of.Action, "idle")
	bare := r.find(of.Config, of.Family, of.Backend, of.Action, "bare")
	return cost{idle.Wall.Median + bare.Wall.Median, idle.CPU.Median + bare.CPU.Median}
}

// drift says how much the idle program's time differs within the run.
func (r *Result) drift() string {
	var all []float64
	for _, run := range r.Runs {
		if run.Program == "idle" {
			all = append(all, run.Wall.Median)
		}
	}
	return fmt.Sprintf("The idle program takes %.1f to %.1f ms, as the machine's speed drifts.", slices.Min(all), slices.Max(all))
}

// text returns the lines for benchstat(1), the table, and whether the limits are kept.
func (r *Result) text() string {
	var b strings.Builder
	for _, run := range r.Runs {
		name := strings.Join([]string{run.Action, run.Program, run.Backend, run.Family, strings.ReplaceAll(run.Config, " ", "-")}, "/")
		fmt.Fprintf(&b, "Benchmark/%s %d %.0f ns/op %.0f cpu-ns/op", name, r.Rounds, run.Wall.Median*1e6, run.CPU.Median*1e6)
		if run.Peak > 0 {
			fmt.Fprintf(&b, " %.1f peak-MB %d programs %d syscalls %d moved-B", run.Peak, run.Programs, run.Calls, run.Bytes)
		}
		b.WriteString("\n")
	}
	for _, c := range r.Connections {
		fmt.Fprintf(&b, "Benchmark/connect/%s/%d-%s %d %.0f ns/op %.0f round-trip-ns/op\n", c.Backend, c.N, c.List, r.Rounds, c.Connect*1e3, c.RoundTrip*1e3)
	}
	return b.String() + "\n" + r.table() + "\n" + r.limits("%-64s %6.2f  at most %5.2f  %s\n")
}

// write writes the result, one run a line.
func (r *Result) write(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	lines := strings.NewReplacer(`[{`, "[\n{", `},{"`, "},\n{\"", `}]`, "}\n]").Replace(string(text))
	return os.WriteFile(path, []byte(lines+"\n"), 0o644)
}

func read(path string) (r *Result, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r = &Result{}
	return r, json.Unmarshal(text, r)
}

// machine describes where the run is, and how busy it is before the run.
func machine() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	version, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-")
	before, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%d cores, Linux %s, %s, load average %s before", runtime.NumCPU(), version, runtime.Version(), before)
}
