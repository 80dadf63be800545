package xtables

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

var wantOurs = iptables.Ruleset{Tables: []iptables.Table{{Name: iptables.NAT, Chains: []iptables.Chain{
	{Name: iptables.Output, Rules: []iptables.Rule{{Match: iptables.Match{}, Target: iptables.Jump{Chain: "ISTIO_OUTPUT"}}}},
	{Name: "ISTIO_OUTPUT", Rules: []iptables.Rule{{Match: iptables.Match{UIDs: []iptables.Cond[iptables.IDRange]{iptables.Is(iptables.ID(1337))}}, Target: iptables.Return}}},
}}}}

func TestPlanHasBothStates(t *testing.T) {
	t.Parallel()
	change, err := Plan(NFT, live(t, inet.IPv4, oursSave), wantOurs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("*nat\n:ISTIO_OUTPUT - [0:0]\n-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\nCOMMIT\n", Script(change)); diff != "" {
		t.Errorf("script (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(oursSave, change.Before.String()); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	if want := "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n"; !strings.Contains(change.After.String(), want) {
		t.Errorf("after: want the rule %s, got\n%s", want, change.After)
	}
}

func TestPlanRefusesWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	nothing := iptables.Ruleset{Family: inet.IPv6}
	six := iptables.Ruleset{Family: inet.IPv6, Tables: wantOurs.Tables}
	tests := []struct {
		name, save string
		want       iptables.Ruleset
		err        string
	}{
		{"family-that-is-missing", "missing", six, "ipv6 nft: executable file not found in $PATH"},
		{"nothing-of-a-family-that-is-missing", "missing", nothing, ""},
		{"table-of-nft-itself", "# Table `nat' is incompatible, use 'nft' tool.\n", six, "ipv6 nft: table nat has rules made by nft"},
		{"another-table-of-nft-itself", "# Table `raw' is incompatible, use 'nft' tool.\n", six, ""},
		{
			"jump-of-several-lines", "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -m comment --comment \"a\nCOMMIT\n*filter\n-F INPUT\" -j ISTIO_OUTPUT\nCOMMIT\n", nothing,
			`ipv6 nft: nat OUTPUT: iptables-restore cannot read a rule with a line end: "-m comment --comment \"a\nCOMMIT\n*filter`,
		},
		{"nothing-in-a-table-of-nft-itself", "# Table `nat' is incompatible, use 'nft' tool.\n", nothing, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Plan(NFT, live(t, inet.IPv6, tt.save), tt.want)
			if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("want %q, got %v", tt.err, err)
			}
		})
	}
}

func TestPlanRefusesInvalidRules(t *testing.T) {
	t.Parallel()
	bad := iptables.Ruleset{Family: inet.IPv6, Tables: []iptables.Table{wantOurs.Tables[0], {Name: "no such table"}}}
	change, err := Plan(NFT, live(t, inet.IPv6, ""), bad)
	if err == nil || err.Error() != bad.Validate().Error() {
		t.Errorf("want the error of Validate, got %v", err)
	}
	if !change.Empty() || change.Family != inet.IPv6 {
		t.Errorf("want no change of IPv6, got %+v", change)
	}
}

func TestPlanRefusesAStateThatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	have := live(t, inet.IPv4, "missing")
	have.Present = true
	if _, err := Plan(NFT, have, iptables.Ruleset{}); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("want that it cannot be cleaned, got %v", err)
	}
}

func TestChangeNamesTheTablesItEmptied(t *testing.T) {
	t.Parallel()
	mixed := strings.Replace(oursSave, "COMMIT", "-A OUTPUT -j ACCEPT\nCOMMIT", 1)
	tests := []struct {
		name, save string
		want       []string
	}{
		{"only-ours", oursSave, []string{"nat"}},
		{"nothing-of-ours", emptySave, nil},
		{"foreign-rules-stay", mixed, nil},
		{"foreign-policy-stays", strings.Replace(oursSave, "OUTPUT ACCEPT", "OUTPUT DROP", 1), nil},
		{"foreign-chain-stays", strings.Replace(oursSave, "COMMIT", ":KUBE - [0:0]\nCOMMIT", 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			change, err := Plan(NFT, live(t, inet.IPv4, tt.save), iptables.Ruleset{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, change.Emptied()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
