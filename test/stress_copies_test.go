package test

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// copies is the number of concurrent runs.
const copies = 8

// TestConcurrentRunsConverge starts runs with equal and with
// different configurations at the same time, while another program changes its own
// chain of the same table.
func TestConcurrentRunsConverge(t *testing.T) {
	needKernel(t)
	tests := []struct {
		name  string
		lines [][]string
	}{
		{"equal", [][]string{asRedirect}},
		{"different", [][]string{asRedirect, asPorts, asDNS, asOther, asLists}},
		{"apply-and-clean", [][]string{asTProxy, asClean}},
	}
	for _, b := range backends {
		for _, tt := range tests {
			t.Run(b.String()+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				var lines [][]string
				for _, line := range tt.lines {
					if line[0] != cleanCommand {
						line = in(b, line)
					}
					lines = append(lines, line)
				}
				v, is := b.(xtables.Variant)
				if !is {
					v = xtables.NFT // of the other program
				}
				startedTogether(t, v, lines)
			})
		}
	}
}

func startedTogether(t *testing.T, v xtables.Variant, lines [][]string) {
	t.Helper()
	s := newSite(t)
	theirs := newNeighbour(s, v)
	want := map[string]int{} // state: number of its command line, from 1
	for i, line := range lines {
		s.exits(0, line...)
		want[s.see().String()] = i + 1
	}
	won := make([]int, len(lines)+1)
	for round := range rounds(2, 30) {
		if round%2 == 0 {
			s.exits(0, cleanCommand)
		}
		theirs.start()
		s.runTogether(lines)
		theirs.pause()
		now := s.see().String()
		won[want[now]]++
		for text, line := range want {
			if want[now] == 0 {
				t.Errorf("it ends in none of the configurations; compared with %q (-want +got):\n%s", lines[line-1], cmp.Diff(text, now))
			}
		}
	}
	t.Logf("another program changed its chain %d times meanwhile; won, in the order of the list: %v", theirs.changes.Load(), won[1:])
	if theirs.changes.Load() == 0 {
		t.Error("the other program did nothing meanwhile")
	}
}

// runTogether starts runs at the same time and waits for all; they have to succeed.
func (s *site) runTogether(lines [][]string) {
	var together sync.WaitGroup
	for n := range copies {
		line := lines[n%len(lines)]
		together.Go(func() {
			if out, err := runIn(s.Path(), s.env, built, line...); err != nil {
				s.t.Errorf("copy %d, %s: %v\n%s", n, strings.Join(line, " "), err, out)
			}
		})
	}
	together.Wait()
}

// runIn runs a program in a network namespace and returns its output.
func runIn(netns string, env []string, name string, args ...string) (out string, err error) {
	cmd := exec.Command(name, args...)
	cmd.Env = env
	var text []byte
	err = netutil.InNetNS(netns, func() (err error) {
		text, err = cmd.CombinedOutput()
		return err
	})
	return string(text), err
}

// A neighbour is another program that adds and deletes rules of a chain of its own,
// in both families.
type neighbour struct {
	*site
	variant xtables.Variant
	changes atomic.Int64
	stop    chan struct{}
	working sync.WaitGroup
}

// The chain of the neighbour, and its permanent rule.
const (
	theirChain = "THEIRS"
	theirRule  = "-p tcp -m tcp --dport 7777 -j RETURN"
)

func newNeighbour(s *site, v xtables.Variant) *neighbour {
	n := &neighbour{site: s, variant: v}
	for _, f := range inet.Families {
		n.do(f, "-N "+theirChain)
		n.do(f, "-A "+theirChain+" "+theirRule)
		n.do(f, "-A OUTPUT -j "+theirChain)
	}
	return n
}

// do runs iptables for the nat table; it has to succeed.
func (n *neighbour) do(f inet.Family, what string) {
	name := strings.TrimSuffix(xtables.SaveTool(f), "-save") + "-" + n.variant.String()
	if out, err := runIn(n.Path(), n.env, name, append([]string{"-w", "-t", "nat"}, strings.Fields(what)...)...); err != nil {
		n.t.Errorf("another program: %s %s: %v: %s", name, what, err, out)
	}
}

func (n *neighbour) start() {
	n.stop = make(chan struct{})
	for _, f := range inet.Families {
		n.working.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-n.stop:
					return
				default:
				}
				rule := fmt.Sprintf("%s -p udp -m udp --dport %d -j RETURN", theirChain, 1+i%65535)
				n.do(f, "-A "+rule)
				n.do(f, "-D "+rule)
				n.changes.Add(2)
			}
		})
	}
}

// pause stops the changes and restores the chain.
func (n *neighbour) pause() {
	close(n.stop)
	n.working.Wait()
}
