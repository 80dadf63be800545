package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// A longList is a configuration with a list of n elements.
type longList struct {
	flag    string
	sizes   []int
	element func(i int) string
	others  []string // flags without which the list has no effect
}

// longLists are all lists that may be long. No two elements fit into one rule: every
// second prefix, and every second port.
var longLists = []longList{
	{"-x", []int{10, 100, 1000, 5000}, prefixOf, []string{"-i", "*", "-b", "*"}},
	{"-i", []int{10, 100, 1000, 5000}, prefixOf, []string{"-b", "*"}},
	{"-o", []int{10, 100, 500, 5000}, portOf, []string{"-i", "*", "-b", "*"}},
	{"-d", []int{10, 100, 500, 5000}, portOf, []string{"-i", "*", "-b", "*"}},
	{"-b", []int{10, 100, 500, 5000}, portOf, []string{"-i", "*"}},
	{"-q", []int{10, 100, 500, 5000}, portOf, []string{"-b", "*"}},
}

func prefixOf(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i/128, i%128*2) }

func portOf(i int) string { return fmt.Sprint(20000 + 2*i) }

// line returns the command line with n elements of the list, from that index on.
func (g longList) line(v xtables.Variant, from, n int) []string {
	var elements []string
	for i := range n {
		elements = append(elements, g.element(from+i))
	}
	line := append([]string{applyCommand, "-u", "1337", "--ip-family", "ipv4", g.flag, strings.Join(elements, ",")}, g.others...)
	return in(v, line)
}

// BenchmarkGrowth measures lists of rising length. The changed configuration has one
// element removed and one added.
func BenchmarkGrowth(b *testing.B) {
	s := newBench(b)
	for _, v := range xtables.Variants {
		for _, g := range longLists {
			for _, n := range g.sizes {
				b.Run(fmt.Sprintf("%s/%s/n=%d", v, strings.TrimPrefix(g.flag, "-"), n), func(b *testing.B) {
					s.in(b).live(life{v, slices.Clone(inet.Families[:1]), g.line(v, 0, n), g.line(v, 1, n)})
				})
			}
		}
	}
}
