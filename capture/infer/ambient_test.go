package infer_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// TestAmbientRulesAreForeign also with the chains of a sidecar beside them.
func TestAmbientRulesAreForeign(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("../../testdata/ambient/rules.txtar")
	if err != nil {
		t.Fatal(err)
	}
	const mark = "*mangle\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n" +
		"-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\nCOMMIT\n"
	tests := []struct {
		name, save string
		ambient    bool
		ours       []iptables.ChainName
	}{
		{"pod", string(archive.Files[0].Data), true, nil},
		{"node", string(archive.Files[1].Data), false, nil},
		{"only-the-mark", mark, true, nil},
		{"sidecar", "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n", false, []iptables.ChainName{{Table: "nat", Chain: "ISTIO_OUTPUT"}}},
		{
			"sidecar-of-before", "*nat\n:PREROUTING ACCEPT [0:0]\n:ISTIO_PRERT - [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_INBOUND - [0:0]\n-A PREROUTING -p tcp -j ISTIO_INBOUND\nCOMMIT\n",
			true,
			[]iptables.ChainName{{Table: "nat", Chain: "ISTIO_INBOUND"}},
		},
		{"numbered-branch", "*nat\n:ISTIO_EXCLUDE_12 - [0:0]\n:ISTIO_EXCLUDE_ - [0:0]\n:ISTIO_EXCLUDE_1A - [0:0]\n:ISTIO_EXCLUDE_X - [0:0]\n:ISTIO_INBOUND_1 - [0:0]\nCOMMIT\n", false, []iptables.ChainName{{Table: "nat", Chain: "ISTIO_EXCLUDE_12"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := iptables.ParseSnapshot(inet.IPv4, tt.save)
			if err != nil {
				t.Fatal(err)
			}
			if got := infer.Ambient(s); got != tt.ambient {
				t.Errorf("ambient: want %t, got %t", tt.ambient, got)
			}
			checkInference(t, infer.Infer(s.Ruleset()), tt.ambient, tt.ours)
			own := infer.Ownership(s)
			if diff := cmp.Diff(tt.ours, own.Names()); diff != "" {
				t.Errorf("ours (-want +got):\n%s", diff)
			}
			if script := xtables.Script(iptables.Plan(s, own, iptables.Ruleset{})); tt.ours == nil && script != "" {
				t.Errorf("want nothing to do, got\n%s", script)
			}
		})
	}
}

// checkInference checks what is inferred of a state: whose it is, and that no rule has a role
// where nothing is ours.
func checkInference(t *testing.T, r *infer.Inference, ambient bool, ours []iptables.ChainName) {
	t.Helper()
	if r.Ambient != ambient || r.Captures() != (ours != nil) {
		t.Errorf("inferred: want ambient %t, captures %t, got %t, %t", ambient, ours != nil, r.Ambient, r.Captures())
	}
	if diff := cmp.Diff(ours, r.Own.Names()); diff != "" {
		t.Errorf("ours, inferred (-want +got):\n%s", diff)
	}
	for _, table := range r.Rules.Tables {
		for _, c := range table.Chains {
			for i, rule := range c.Rules {
				if ours == nil && rule.Role != capture.RoleUnknown {
					t.Errorf("%s %s, rule %d: want no role, got %v", table.Name, c.Name, i+1, rule.Role)
				}
			}
		}
	}
}

// TestOutputChainOfAmbientOrSidecar checks for each table by itself whose the chain
// ISTIO_OUTPUT is.
func TestOutputChainOfAmbientOrSidecar(t *testing.T) {
	t.Parallel()
	const (
		inbound  = ":ISTIO_PRERT - [0:0]\n"
		redirect = ":ISTIO_REDIRECT - [0:0]\n"
		toOurs   = "-A ISTIO_OUTPUT -j ISTIO_REDIRECT\n"
		owner    = "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n"
		accept   = "-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT\n"
		masked   = "-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT\n"
		whole    = "-A ISTIO_OUTPUT -o lo -p tcp -m mark --mark 0x539 -j RETURN\n"
		restore  = "-A ISTIO_OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\n"
		sets     = "-A ISTIO_OUTPUT -o lo -p tcp -j MARK --set-xmark 0x53a/0xffffffff\n"
	)
	tests := []struct {
		name        string
		nat, mangle string // the other chains, and the rules of ISTIO_OUTPUT
		ours        []string
	}{
		{"sidecar", redirect + toOurs, whole, []string{"mangle", "nat"}},
		{"sidecar-beside-ambient-in-mangle", redirect + toOurs, inbound + whole, []string{"mangle", "nat"}},
		{"sidecar-beside-ambient-in-nat", inbound + redirect + toOurs, whole, []string{"mangle", "nat"}},
		{"sidecar-beside-ambient-in-both", inbound + redirect + toOurs, inbound + restore, []string{"mangle", "nat"}},
		{"sidecar-sets-marks", inbound + masked, inbound + sets, []string{"mangle"}},
		{"sidecar-captures-nothing", inbound + owner, inbound + masked, []string{"nat"}},
		{"sidecar-in-nat", redirect + toOurs, inbound + masked, []string{"nat"}},
		{"sidecar-in-mangle", inbound + accept, whole, []string{"mangle"}},
		{"rules-of-both", inbound + redirect + masked + toOurs, inbound + accept, []string{"nat"}},
		{"marks-of-both", accept, whole + masked, []string{"nat"}},
		{"ambient", inbound + accept, inbound + masked, nil},
		{"ambient-by-its-marks", masked, masked, nil},
		{"ambient-empty", inbound, inbound, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := iptables.ParseSnapshot(inet.IPv4, "*mangle\n:ISTIO_OUTPUT - [0:0]\n"+tt.mangle+"COMMIT\n*nat\n:ISTIO_OUTPUT - [0:0]\n"+tt.nat+"COMMIT\n")
			if err != nil {
				t.Fatal(err)
			}
			var ours []string
			for _, name := range infer.Ownership(s).Names() {
				if name.Chain == capture.ChainOutput {
					ours = append(ours, name.Table)
				}
			}
			if diff := cmp.Diff(tt.ours, ours); diff != "" {
				t.Errorf("tables whose ISTIO_OUTPUT is ours (-want +got):\n%s", diff)
			}
		})
	}
}
