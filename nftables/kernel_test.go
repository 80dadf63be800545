package nftables_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
	"istio-init/test/kernel"
	"istio-init/test/scenario"
)

// compile returns the tables of both families.
func compile(t *testing.T, of func(inet.Family) iptables.Ruleset) (tables []nftables.Table) {
	t.Helper()
	for _, f := range inet.Families {
		table, err := nftables.Compile(of(f))
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	return tables
}

// read reads the live tables of both families.
func read(t *testing.T, ns *kernel.NetNS) (live []nftables.Live) {
	t.Helper()
	ns.Do(t, func() error {
		for _, f := range inet.Families {
			l, err := nftables.Read(f)
			if err != nil {
				return err
			}
			live = append(live, l)
		}
		return nil
	})
	return live
}

// apply makes the live tables the wanted ones.
func apply(t *testing.T, ns *kernel.NetNS, want []nftables.Table) {
	t.Helper()
	live := read(t, ns)
	ns.Do(t, func() error { return nftables.Commit(nftables.Plan(live, want), netutil.NFTGeneration()) })
}

func text(tables []nftables.Table) string { return tables[0].String() + tables[1].String() }

// roundTrip applies tables, and compares them with what nft lists, with what nft takes, and with
// what is read back.
func roundTrip(t *testing.T, ns *kernel.NetNS, want []nftables.Table) {
	t.Helper()
	apply(t, ns, want)
	if diff := cmp.Diff(text(want), ns.Run(t, "", "nft", "list", "ruleset")); diff != "" {
		t.Errorf("nft lists the rules differently (-want +got):\n%s", diff)
	}
	live := read(t, ns)
	for i, l := range live {
		if diff := cmp.Diff(want[i].Ruleset().String(), l.Ruleset().String()); diff != "" {
			t.Errorf("%s: it is read back differently (-want +got):\n%s", want[i].Family, diff)
		}
	}
	if changes := nftables.Plan(live, want); len(changes) > 0 {
		t.Errorf("a second run would change %d tables", len(changes))
	}
	ns.Run(t, text(want), "nft", "-c", "-f", "-")
	apply(t, ns, none)
	if left := ns.Run(t, "", "nft", "list", "ruleset"); left != "" {
		t.Errorf("removing left: %s", left)
	}
}

// none are the tables of both families without rules.
var none = []nftables.Table{{Family: inet.IPv4}, {Family: inet.IPv6}}

func TestNFTListsTheRulesOfScenarios(t *testing.T) {
	kernel.Need(t, "nft")
	for _, s := range scenario.All(t, "../testdata") {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			roundTrip(t, kernel.NewNetNS(t), compile(t, func(f inet.Family) iptables.Ruleset { return s.Rules(t, f) }))
		})
	}
}

// longLists is a configuration with lists of many elements.
func longLists(n int) capture.Config {
	proxy := []iptables.IDRange{iptables.ID(capture.DefaultProxyID)}
	c := capture.Config{
		Mode: capture.Redirect, ProxyPort: capture.DefaultProxyPort, InboundPort: capture.DefaultInboundPort,
		TunnelPort: capture.DefaultTunnelPort, ProxyUIDs: proxy, ProxyGIDs: proxy,
	}
	c.OutboundPrefixes.All, c.OwnerGroups.All, c.InboundPorts.All = true, true, true
	for i := range n {
		c.OutboundPrefixes.Except = append(c.OutboundPrefixes.Except,
			netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i / 128), byte(i % 128 * 2), 0}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 1, byte(i / 128), byte(i % 128 * 2)}), 32))
	}
	for i := range uint16(40) {
		c.InboundPorts.Except = append(c.InboundPorts.Except, iptables.PortRange{Lo: 1000 + 10*i, Hi: 1001 + 10*i})
		c.OwnerGroups.Except = append(c.OwnerGroups.Except, iptables.ID(uint32(2000+2*i)))
	}
	return c
}

func TestLongListsAreSets(t *testing.T) {
	kernel.Need(t, "nft")
	c := longLists(5000)
	tables := compile(t, func(f inet.Family) iptables.Ruleset { return capture.ListRules(c, f) })
	for _, table := range tables {
		if n := strings.Count(table.String(), "\n\t\t"); n > 40 {
			t.Errorf("%d lines for %d rules", n, table.Ruleset().Len())
		}
	}
	roundTrip(t, kernel.NewNetNS(t), tables)
}

func TestStaleGenerationChangesNothing(t *testing.T) {
	kernel.Need(t, "nft")
	ns := kernel.NewNetNS(t)
	want := compile(t, func(f inet.Family) iptables.Ruleset { return capture.ListRules(longLists(1), f) })
	ns.Do(t, func() error {
		seen := netutil.NFTGeneration()
		ns.Run(t, "", "nft", "add table ip other")
		err := nftables.Commit(nftables.Plan([]nftables.Live{{Table: none[0]}, {Table: none[1]}}, want), seen)
		if !errors.Is(err, unix.ERESTART) {
			t.Errorf("want ERESTART, got %v", err)
		}
		return nil
	})
	if got := ns.Run(t, "", "nft", "list ruleset"); got != "table ip other {\n}\n" {
		t.Errorf("the ruleset is now %s", got)
	}
}

func TestRefusalNamesTheRule(t *testing.T) {
	kernel.Need(t)
	ns := kernel.NewNetNS(t)
	rules := iptables.Ruleset{Tables: []iptables.Table{{Name: iptables.NAT, Chains: []iptables.Chain{{Name: capture.ChainOutput, Rules: []iptables.Rule{
		{Match: iptables.Match{Proto: iptables.TCP}, Target: iptables.Return},
		{Match: iptables.Match{Proto: iptables.UDP}, Target: iptables.Jump{Chain: "MISSING"}},
	}}}}}}
	table, err := nftables.Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	ns.Do(t, func() error {
		err := nftables.Commit([]nftables.Change{{After: table}}, 0)
		if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "add rule ip istio-init nat-ISTIO_OUTPUT meta l4proto udp jump nat-MISSING: ") {
			t.Errorf("want ENOENT for the second rule, got %v", err)
		}
		return nil
	})
	if read(t, ns)[inet.IPv4].Present {
		t.Error("the table is there after a refusal")
	}
}

func TestForeignRulesAreRepaired(t *testing.T) {
	kernel.Need(t, "nft")
	want := compile(t, func(f inet.Family) iptables.Ruleset { return capture.ListRules(longLists(3), f) })
	for name, change := range map[string]string{
		"another-rule":    "add rule ip istio-init nat-ISTIO_OUTPUT counter",
		"other-statement": "insert rule ip istio-init nat-ISTIO_OUTPUT tcp dport 80 counter return",
		"known-rule":      "insert rule ip istio-init nat-ISTIO_OUTPUT tcp dport 80 return",
		"another-chain":   "add chain ip istio-init foreign",
		"policy":          "chain ip istio-init nat-OUTPUT { policy drop; }",
		"dormant":         "table ip istio-init { flags dormant; }",
		"rules-flushed":   "flush table ip istio-init",
		"table-of-others": "delete table ip istio-init; add table ip istio-init",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := kernel.NewNetNS(t)
			apply(t, ns, want)
			ns.Run(t, change+"\n", "nft", "-f", "-")
			live := read(t, ns)
			changes := nftables.Plan(live, want)
			if len(changes) != 1 {
				t.Fatalf("want a change of one table, got %d", len(changes))
			}
			apply(t, ns, want)
			got := ns.Run(t, "", "nft", "list", "table", "ip", nftables.Name) + ns.Run(t, "", "nft", "list", "table", "ip6", nftables.Name)
			if diff := cmp.Diff(text(want), got); diff != "" {
				t.Errorf("not repaired (-want +got):\n%s", diff)
			}
		})
	}
}

// TPROXY is two rules: without a socket of the proxy, iptables drops.
func TestCompiledText(t *testing.T) {
	rules := []iptables.Rule{
		{Match: iptables.Match{Dst: iptables.Is(netip.MustParsePrefix("10.0.0.0/8"))}, Target: iptables.Return},
		{Match: iptables.Match{Dst: iptables.Is(netip.MustParsePrefix("192.0.2.7/32"))}, Target: iptables.Return},
		{Match: iptables.Match{Dst: iptables.Is(netip.MustParsePrefix("192.0.2.6/32"))}, Target: iptables.Return},
		{Match: iptables.Match{Proto: iptables.TCP, DPort: iptables.Not(iptables.Port(53))}, Target: iptables.Jump{Chain: capture.ChainTProxy}},
		{Match: iptables.Match{Proto: iptables.TCP}, Target: iptables.TProxy{Port: 15006, Mark: iptables.FullMark(1337)}},
	}
	table, err := nftables.Compile(iptables.Ruleset{Tables: []iptables.Table{{Name: iptables.Mangle, Chains: []iptables.Chain{{Name: iptables.Prerouting, Rules: rules}}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `table ip istio-init {
	chain mangle-PREROUTING {
		type filter hook prerouting priority mangle + 1; policy accept;
		ip daddr { 10.0.0.0/8, 192.0.2.6, 192.0.2.7 } return
		tcp dport != 53 jump mangle-ISTIO_TPROXY
		meta l4proto tcp tproxy to :15006 meta mark set 0x00000539 accept
		meta l4proto tcp drop
	}
}
`
	if diff := cmp.Diff(want, table.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
