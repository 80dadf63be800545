package nftables_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
	"istio-init/test/kernel"
	"istio-init/test/scenario"
)

// excluding is a configuration that excludes inbound ports.
func excluding(mode capture.Mode, ports ...iptables.PortRange) capture.Config {
	c := longLists(0)
	c.Mode, c.InboundPorts.Except, c.OwnerGroups.Except = mode, ports, nil
	return c
}

// Ranges are sets of intervals, single ports are not.
var (
	single = []iptables.PortRange{iptables.Port(80), iptables.Port(90)}
	ranges = []iptables.PortRange{{Lo: 80, Hi: 85}, {Lo: 90, Hi: 95}}
	others = []iptables.PortRange{{Lo: 80, Hi: 86}, {Lo: 90, Hi: 95}}
)

// stagedCases are changes between configurations.
var stagedCases = []struct {
	name     string
	from, to capture.Config
	staged   bool
}{
	{"values-only", excluding(capture.Redirect, ranges...), excluding(capture.Redirect, single...), false},
	{"new-ranges", excluding(capture.Redirect, single...), excluding(capture.Redirect, ranges...), true},
	{"other-ranges", excluding(capture.Redirect, ranges...), excluding(capture.Redirect, others...), true},
	{"other-ranges-tproxy", excluding(capture.TProxy, ranges...), excluding(capture.TProxy, others...), true},
	{"ranges-stay", excluding(capture.Redirect, ranges...), func() capture.Config {
		c := excluding(capture.Redirect, ranges...)
		c.ProxyPort = 15002
		return c
	}(), false},
	{"other-chains", excluding(capture.Redirect, ranges...), excluding(capture.TProxy, ranges...), true},
	{"other-chains-back", excluding(capture.TProxy, ranges...), excluding(capture.Redirect, ranges...), true},
	{"other-chains-values-only", excluding(capture.Redirect, ranges...), excluding(capture.TProxy, single...), false},
}

// Chains with a hook have jumps, which a staged change adds in its second transaction.
func TestOnlyChainsWithoutAHookHaveSets(t *testing.T) {
	for _, s := range scenario.All(t, "../testdata") {
		for chain := range strings.SplitSeq(text(compile(t, func(f inet.Family) iptables.Ruleset { return s.Rules(t, f) })), "\tchain ") {
			if strings.Contains(chain, " hook ") && strings.Count(chain, "{") > 1 {
				t.Errorf("%s: %s", s.Name(), chain)
			}
		}
	}
}

func compiled(t *testing.T, c capture.Config) []nftables.Table {
	t.Helper()
	return compile(t, func(f inet.Family) iptables.Ruleset { return capture.ListRules(c, f) })
}

func TestChangesWithNewIntervalSetsAreStaged(t *testing.T) {
	for _, tt := range stagedCases {
		t.Run(tt.name, func(t *testing.T) {
			var live []nftables.Live
			for _, table := range compiled(t, tt.from) {
				live = append(live, nftables.Live{Table: table, Present: true})
			}
			for _, change := range nftables.Plan(live, compiled(t, tt.to)) {
				if change.Staged() != tt.staged {
					t.Errorf("%s: staged: want %v", change.After.Family, tt.staged)
				}
			}
			for _, change := range nftables.Plan([]nftables.Live{{Table: none[0]}, {Table: none[1]}}, compiled(t, tt.to)) {
				if change.Staged() {
					t.Errorf("%s: a first apply is staged", change.After.Family)
				}
			}
		})
	}
}

func TestStagedChangeEndsAsAFreshApply(t *testing.T) {
	kernel.Need(t, "nft")
	for _, tt := range stagedCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := kernel.NewNetNS(t)
			apply(t, ns, compiled(t, tt.from))
			want := compiled(t, tt.to)
			var before, after uint32
			ns.Do(t, func() error { before = netutil.NFTGeneration(); return nil })
			apply(t, ns, want)
			ns.Do(t, func() error { after = netutil.NFTGeneration(); return nil })
			if made := after-before == 2; made != tt.staged {
				t.Errorf("%d transactions", after-before)
			}
			if diff := cmp.Diff(text(want), ns.Run(t, "", "nft", "list", "ruleset")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again := nftables.Plan(read(t, ns), want); len(again) > 0 {
				t.Errorf("a second run would change %d tables", len(again))
			}
		})
	}
}

// A map of others keeps a chain from being deleted in the second transaction.
func TestStagedChangeThatCannotBeCompletedReplacesTheTable(t *testing.T) {
	kernel.Need(t, "nft")
	ns := kernel.NewNetNS(t)
	apply(t, ns, compiled(t, excluding(capture.TProxy, single...)))
	ns.Run(t, "add map ip istio-init m { type inet_service : verdict; elements = { 80 : jump nat-ISTIO_REDIRECT }; }\n", "nft", "-f", "-")
	want := compiled(t, excluding(capture.Redirect, ranges...))
	apply(t, ns, want)
	if diff := cmp.Diff(text(want), ns.Run(t, "", "nft", "list", "ruleset")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
