package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/nftables"
	"istio-init/test/kernel"
	"istio-init/test/scenario"
)

// A release is a Debian with another release of nft than that of the machine.
type release struct {
	suite string
	// takes reports whether its nft takes the text.
	takes func(text string) bool
	// prints returns how it prints what nft 1.0.6 prints as text; nil: not alike.
	prints *strings.Replacer
}

// releases are nft 0.9.8 and 1.1.3. An unstable Debian is not among them: what it has today
// must not decide whether these tests pass.
var releases = []release{
	{suite: "bullseye", takes: func(text string) bool { return !strings.Contains(text, "tproxy") }},
	{suite: "trixie", takes: func(string) bool { return true }, prints: since11},
}

// since11 has what nft 1.1 prints in another way.
var since11 = strings.NewReplacer(
	"hook output priority -99;", "hook output priority dstnat + 1;",
	"tcp flags != syn / fin,syn,rst,ack", "tcp flags & (fin | syn | rst | ack) != syn",
)

// TestOtherReleasesOfNFT has other releases of nft load the rules of all scenarios, and list
// live ones. Loaded by nft, they are the wanted rules.
func TestOtherReleasesOfNFT(t *testing.T) {
	needRun(t)
	kernel.Need(t, "nft")
	for _, r := range releases {
		t.Run(r.suite, func(t *testing.T) {
			root := r.root(t)
			for _, s := range scenario.All(t, "../../testdata") {
				t.Run(s.Name(), func(t *testing.T) { r.try(t, root, s) })
			}
		})
	}
}

// root unpacks nft, a shell, and the names of protocols that nft prints.
func (r release) root(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(store, r.suite)
	err := run(exec.CommandContext(t.Context(), "mmdebstrap", "--quiet", "--variant=extract", "--include=nftables,netbase,dash,base-files", r.suite, dir))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// try loads and lists the rules of a scenario.
func (r release) try(t *testing.T, root string, s *scenario.Scenario) {
	t.Helper()
	var want []nftables.Table
	text := ""
	for _, f := range inet.Families {
		table, err := nftables.Compile(s.Rules(t, f))
		if err != nil {
			t.Fatal(err)
		}
		want, text = append(want, table), text+table.String()
	}
	ns := kernel.NewNetNS(t)
	nft := func(args ...string) string {
		return ns.Run(t, "", "chroot", append([]string{root, "/bin/sh", "-c", `exec nft "$@" 2>&1`, "nft"}, args...)...)
	}
	if r.takes(text) {
		const script = "/tmp/rules"
		if err := os.WriteFile(root+script, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if said := nft("-f", script); said != "" {
			t.Errorf("nft -f says %s", said)
		}
		if changes := nftables.Plan(live(t, ns), want); len(changes) > 0 {
			t.Errorf("%d tables differ from the wanted ones, though nft has loaded their text: it lists\n%s", len(changes), nft("list", "ruleset"))
		}
	}
	before := live(t, ns)
	ns.Do(t, func() error {
		return nftables.Commit([]nftables.Change{{Before: before[0], After: want[0]}, {Before: before[1], After: want[1]}}, netutil.NFTGeneration())
	})
	listed := nft("list", "ruleset")
	if r.prints == nil { // that it lists them without a complaint
		if got, lines := strings.Count(listed, "\n"), strings.Count(text, "\n"); got != lines {
			t.Errorf("nft lists %d lines, want %d:\n%s", got, lines, listed)
		}
		return
	}
	if diff := cmp.Diff(r.prints.Replace(text), listed); diff != "" {
		t.Errorf("nft lists the rules differently (-want +got):\n%s", diff)
	}
}

// live reads the tables of both families.
func live(t *testing.T, ns *kernel.NetNS) (tables []nftables.Live) {
	t.Helper()
	ns.Do(t, func() error {
		for _, f := range inet.Families {
			table, err := nftables.Read(f)
			if err != nil {
				return err
			}
			tables = append(tables, table)
		}
		return nil
	})
	return tables
}
