package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/executable"
	"istio-init/test/kernel"
)

// Programs of others take part, called each in its own way. One that fails is left out.
func TestProgramsOfOthersTakePart(t *testing.T) {
	kernel.Need(t)
	dir := t.TempDir()
	stub := func(name, end string) {
		text := "#!/bin/sh\necho \"$@\" >>" + filepath.Join(dir, name+".calls") + "\n" + end + "\n"
		if err := executable.Write(filepath.Join(dir, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	stub("istio-iptables", "exit 0")
	stub("linkerd2-proxy-init", "exit 0")
	stub("kumactl", "exit 1")
	stub("another", "exit 0")

	b := &bench{dir: dir, peers: peersIn(dir), bound: lowerBound{dir: dir}}
	var err error
	if b.log, err = openLog(); err != nil {
		t.Fatal(err)
	}
	defer b.log.stderr.Close()
	all, err := b.candidates(workloads()[0][0])
	if err != nil {
		t.Fatal(err)
	}
	actionsOf := map[string][]string{}
	for _, c := range all[3:] { // after our own three
		actionsOf[c.name] = slices.Sorted(maps.Keys(c.steps))
	}
	want := map[string][]string{
		"istio-iptables":      {"apply", "change", "clean", "dry-run", "re-run"},
		"linkerd2-proxy-init": {"apply", "change", "re-run"},
	}
	if diff := cmp.Diff(want, actionsOf); diff != "" {
		t.Errorf("programs and their actions (-want +got):\n%s", diff)
	}
	for name, call := range map[string]string{
		"istio-iptables":      "-p 15001 -z 15006 -u 1337 -g 1337 -i * -b * -d 15090,15021,15020 --force-iptables-binary nft",
		"linkerd2-proxy-init": "-p 4143 -o 4140 -u 2102 --inbound-ports-to-ignore 4190,4191 --firewall-bin-path iptables-nft --firewall-save-bin-path iptables-nft-save --ipv6=false",
	} {
		calls, _ := os.ReadFile(filepath.Join(dir, name+".calls"))
		if first, _, _ := strings.Cut(string(calls), "\n"); first != call {
			t.Errorf("%s was called with %q, want %q", name, first, call)
		}
	}
}

func TestNoProgramsOfOthersWithoutADirectory(t *testing.T) {
	t.Parallel()
	if found := peersIn(""); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}
