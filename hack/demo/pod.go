package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	netpod "istio-init/test/pod"
)

// A pod is the pod of the truth table, and the program that is shown in it.
type pod struct {
	*netpod.Pod
	stage   *stage
	program string
}

// dualStack is how Istio tells the command that a pod has both families.
const dualStack = "ISTIO_DUAL_STACK=true"

// show runs the program in the pod, and shows the command, the output and the
// log.
func (p *pod) show(args ...string) {
	env := []string{"-i", dualStack, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	stdout, stderr, err := p.Run(p.stage.ctx, "env", slices.Concat(env, []string{p.program}, args)...)
	if err != nil {
		p.stage.Fatalf("%s: %w\n%s%s", commandLine(args), err, stdout, stderr)
	}
	fmt.Print(fold("$ " + commandLine(args) + "\n" + stdout + outcomes(stderr)))
}

// commandLine is what a user would type.
func commandLine(args []string) string {
	words := []string{dualStack, "istio-init"}
	for _, arg := range args {
		if arg == "" || arg == "*" {
			arg = "'" + arg + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

var logTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\S+\t`)

// outcomes are the lines of a log less their time, and less the state of the
// rules, which takes up lines of its own.
func outcomes(log string) string {
	var kept strings.Builder
	for line := range strings.Lines(log) {
		if time := logTime.FindString(line); time != "" && !strings.HasSuffix(line, ":\n") {
			kept.WriteString(strings.ReplaceAll(line[len(time):], "\t", "  "))
		}
	}
	return kept.String()
}

// A state is what programs that list say of the pod, by command.
type state []struct{ command, output string }

// listings are those programs.
var listings = []string{"iptables-save", "ip6tables-save", "nft -a list ruleset", "ip rule", "ip -6 rule", "ip -brief address show dev lo"}

// What says nothing about rules: the time, packet counts, and the empty tables
// that the legacy variant keeps.
var meaningless = regexp.MustCompile(`(?m)^#.*\n| \[\d+:\d+\]$|counter packets \d+ bytes \d+ |^\*\w+\n(:\w+ ACCEPT(?: \[\d+:\d+\])?\n)*COMMIT\n`)

func (p *pod) state() state {
	var s state
	for _, command := range listings {
		words := strings.Fields(command)
		stdout, stderr, err := p.Run(p.stage.ctx, words[0], words[1:]...)
		if err != nil {
			p.stage.Fatalf("%s: %w\n%s", command, err, stderr)
		}
		s = append(s, struct{ command, output string }{command, meaningless.ReplaceAllString(stdout, "")})
	}
	return s
}

// listing shows a state as one would see it by typing the commands.
func (s state) listing() string {
	var b strings.Builder
	for _, l := range s {
		fmt.Fprintf(&b, "$ %s\n%s", l.command, l.output)
		if l.output == "" {
			b.WriteString("(nothing)\n")
		}
	}
	return fold(b.String())
}

// compare tells whether the pod is now in a state, and says so.
func (p *pod) compare(what string, want state) bool {
	if got := p.state(); !slices.Equal(want, got) {
		fmt.Printf("WRONG: not the same %s. It was:\n%sIt is:\n%s", what, want.listing(), got.listing())
		return false
	}
	fmt.Printf("The same %s.\n", what)
	return true
}
