package test

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"istio-init/iptables"
	"istio-init/test/kernel"
)

// podsOfANode is how many pods begin at once.
const podsOfANode = 16

// atOnce runs a command in each of many namespaces at the same time.
func (s *bench) atOnce(c command) (sum cost) {
	s.b.Helper()
	pods := newPods(s.b, podsOfANode)
	began := time.Now()
	var all []*exec.Cmd
	for _, ns := range pods {
		running, _ := s.start(ns, step{c})
		all = append(all, running...)
	}
	sum.cpu = s.wait(all)
	sum.wall = time.Since(began)
	return sum
}

// BenchmarkPodsAtOnce sets new pods up for both families, against Go programs that
// do nothing but run the two restores.
func BenchmarkPodsAtOnce(b *testing.B) {
	all := newBench(b)
	all.env = append(slices.Clone(imageEnv), "XTABLES_LOCKFILE=/proc/self/ns/net") // each pod has its own
	for _, v := range iptables.Variants {
		b.Run(v.String(), func(b *testing.B) {
			kernel.NeedVariant(b, v)
			s, line := all.in(b), in(v, asRedirect)
			bare := command{path: s.bare}
			for i, restore := range s.restores(life{variant: v, families: iptables.Families[:]}, nil, s.rules(line, iptables.Families[:])) {
				if i > 0 {
					bare.args = append(bare.args, ",")
				}
				path, err := exec.LookPath(restore.path)
				if err != nil {
					b.Fatal(err)
				}
				bare.args = append(append(bare.args, restore.stdin, path), restore.args...)
			}
			var costs pair
			for b.Loop() {
				costs.add(func() cost { return s.atOnce(command{path: s.ours, args: line}) }, func() cost { return s.atOnce(bare) })
			}
			costs.report(b, "")
		})
	}
}
