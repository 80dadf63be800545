package main

import (
	"fmt"
	"strings"
)

// A limit is a ratio or a number that must not be greater.
type limit struct {
	what     string
	got, max float64
}

// ratio divides; -1: not measured.
func ratio(x, y float64) float64 {
	if y == 0 {
		return -1
	}
	return x / y
}

func (l limit) verdict() string {
	switch {
	case l.got < 0:
		return "not measured"
	case l.got > l.max:
		return "FAIL"
	}
	return "pass"
}

// limits returns what must not be exceeded, and whether it is, one a line of a format.
func (r *Result) limits(format string) string {
	var b strings.Builder
	for _, l := range append(r.againstBound(), r.againstIptables()...) {
		fmt.Fprintf(&b, format, l.what, l.got, l.max, l.verdict())
	}
	return b.String()
}

// againstBound are the limits of each backend.
func (r *Result) againstBound() (all []limit) {
	for _, backend := range backends {
		add := func(what string, got, most float64) { all = append(all, limit{backend + ": " + what, got, most}) }
		wall := func(family, action string) float64 {
			run := r.find("default", family, backend, action, "istio-init")
			return ratio(run.Wall.Median, r.bound(run).wall)
		}
		isNative := backend == native
		add("apply ipv4, wall, against the lower bound", wall("ipv4", "apply"), choose(isNative, 1.5, 1.45))
		add("apply dual, wall, against the lower bound", wall("dual", "apply"), choose(isNative, 1.5, 1.25))
		add("re-run ipv4, wall, against the lower bound", wall("ipv4", "re-run"), 1.5)
		for _, action := range []string{"apply", "re-run", "clean"} {
			run := r.find("default", "ipv4", backend, action, "istio-init")
			most := choose(isNative, 0, choose(backend == legacy && action == "clean", 2, 1))
			add("programs beside itself: "+action+" ipv4", float64(run.Programs), most)
			if action == "apply" {
				add("peak memory, MB: apply ipv4", run.Peak, 16)
			}
		}
		add("a new connection, 5,000 prefixes, against none", ratio(r.connect(backend, 5000), r.connect(backend, 0)), 1.1)
		init, plugin := r.pods(backend, "istio-init"), r.pods(backend, "istio-cni")
		add("CPU of 50 pods at once, against 50 times one", ratio(init.CPU, init.OneCPU*atOnce), choose(isNative, 1.1, 1.15))
		if backend != legacy {
			add("istio-cni ADD, wall, against istio-init apply", ratio(plugin.OneWall, init.OneWall), 1.3)
		}
	}
	return all
}

// againstIptables are the limits of the native backend, against iptables-nft.
func (r *Result) againstIptables() (all []limit) {
	wall := func(family, action string) float64 {
		return ratio(r.find("default", family, native, action, "istio-init").Wall.Median, r.find("default", family, nft, action, "istio-init").Wall.Median)
	}
	long := func(backend string) float64 {
		return r.find("5000 prefixes", "ipv4", backend, "apply", "istio-init").CPU.Median
	}
	changes := float64(r.find("default", "ipv4", native, "re-run", "istio-init").Changes)
	return []limit{
		{"nftables: apply ipv4, wall, against nft", wall("ipv4", "apply"), 0.7},
		{"nftables: apply dual, wall, against nft", wall("dual", "apply"), 0.6},
		{"nftables: re-run ipv4, wall, against nft", wall("ipv4", "re-run"), 0.7},
		{"nftables: re-run dual, wall, against nft", wall("dual", "re-run"), 0.65},
		{"nftables: apply with 5,000 prefixes, CPU, against nft", ratio(long(native), long(nft)), 0.4},
		{"nftables: transactions of a re-run", changes, 0},
	}
}

func choose(first bool, x, y float64) float64 {
	if first {
		return x
	}
	return y
}

// connect returns how long a connection takes past that many excluded prefixes.
func (r *Result) connect(backend string, n int) float64 {
	for _, c := range r.Connections {
		if c.Backend == backend && c.List == "prefixes" && c.N == n {
			return c.Connect
		}
	}
	return 0
}

func (r *Result) pods(backend, program string) Pods {
	for _, p := range r.Pods {
		if p.Backend == backend && p.Program == program {
			return p
		}
	}
	return Pods{}
}

// table returns the medians of our program and their ratio to the lower bound, as Markdown.
func (r *Result) table() string {
	var b strings.Builder
	b.WriteString("| wall ms, CPU ms (ratios to the lower bound) |")
	for _, a := range actions {
		b.WriteString(" " + a + " |")
	}
	b.WriteString("\n|---" + strings.Repeat("|---", len(actions)) + "|\n")
	done := map[string]bool{}
	for _, run := range r.Runs {
		key := fmt.Sprint(run.Config, ", ", run.Family, ", ", run.Backend)
		if done[key+run.Program] || run.Program == "idle" || run.Program == "bare" {
			continue
		}
		done[key+run.Program] = true
		if run.Program != "istio-init" {
			key += ": " + run.Program
		}
		b.WriteString("| " + key + " |")
		for _, action := range actions {
			b.WriteString(r.cell(r.find(run.Config, run.Family, run.Backend, action, run.Program)) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r *Result) cell(run Run) string {
	if run.Wall.Median == 0 {
		return ""
	}
	bound := r.bound(run)
	return fmt.Sprintf(" %.1f, %.1f (%.2f, %.2f)", run.Wall.Median, run.CPU.Median, ratio(run.Wall.Median, bound.wall), ratio(run.CPU.Median, bound.cpu))
}
