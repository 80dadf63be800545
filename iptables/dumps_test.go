package iptables_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/fake"
	"istio-init/test/kernel"
)

// TestDumpsOfBothVariantsAreRead has what iptables 1.8.9 printed in namespaces with
// rules of Docker, Kubernetes and Istio, with and without counters.
func TestDumpsOfBothVariantsAreRead(t *testing.T) {
	t.Parallel()
	dumps, err := filepath.Glob("testdata/*.save")
	if err != nil || len(dumps) == 0 {
		t.Fatalf("no dumps (%v)", err)
	}
	for _, path := range dumps {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".save"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f := inet.IPv4
			if strings.Contains(path, "ipv6") {
				f = inet.IPv6
			}
			want, s := kernel.Plain(string(text)), snapshot(t, f, string(text))
			if diff := cmp.Diff(want, s.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, s.Ruleset().String()); diff != "" {
				t.Errorf("in types (-want +got):\n%s", diff)
			}
			if rules := strings.Count(want, "\n-A "); s.Rules() != rules {
				t.Errorf("rules: want %d, got %d", rules, s.Rules())
			}
			k, err := fake.Load(want)
			if err != nil {
				t.Fatalf("the fake: %v", err)
			}
			if diff := cmp.Diff(want, k.String()); diff != "" {
				t.Errorf("the fake (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOurRulesAreReadFromDumps reads each rule of our chains as typed.
func TestOurRulesAreReadFromDumps(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"testdata/nft-ipv4.save", "testdata/legacy-ipv4.save", "testdata/nft-ipv6.save", "testdata/legacy-ipv6.save"} {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".save"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f := inet.IPv4
			if strings.Contains(path, "ipv6") {
				f = inet.IPv6
			}
			for _, line := range fake.Ours(string(text)) {
				words := strings.SplitN(line, " ", 4)
				if len(words) < 4 || words[1] != "-A" {
					continue
				}
				if _, err := iptables.ParseRule(f, words[3]); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		})
	}
}

func TestOwnershipOfDumps(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/nft-ipv4.save")
	if err != nil {
		t.Fatal(err)
	}
	want := []iptables.ChainName{{Table: "nat", Chain: "ISTIO_INBOUND"}, {Table: "nat", Chain: "ISTIO_IN_REDIRECT"}, {Table: "nat", Chain: "ISTIO_OUTPUT"}, {Table: "nat", Chain: "ISTIO_REDIRECT"}}
	if diff := cmp.Diff(want, iptables.OwnISTIO(snapshot(t, inet.IPv4, string(text))).Names()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDumpNamesUnreadableTables(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/nft-incompatible.save")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"nat"}, snapshot(t, inet.IPv4, string(text)).Unreadable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
