package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEditedNativeTableIsNotTakenForOurs: others have changed our table, or have one of its name
// in another family. Trace has to be right or not certain, check has to name the drift and not
// to say that the rules are exactly ours, and apply converges without a complaint.
func TestEditedNativeTableIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	const hook = "hook output priority -99"
	for _, tt := range []struct {
		name, edit string
		captured   int // exit code of trace --expect captured
		drift      string
	}{
		{"rule-that-is-not-understood", "nft insert rule ip istio-init nat-OUTPUT ip ttl 64 accept", 2, "-nf_tables rule of the expressions"},
		{"set-of-others", "nft 'add set ip istio-init s { type ipv4_addr; }; insert rule ip istio-init nat-OUTPUT ip daddr @s accept'", 2, "-nf_tables rule of the expressions"},
		{"known-rule", "nft insert rule ip istio-init nat-OUTPUT tcp dport 80 accept", 1, "--p tcp -m tcp --dport 80 -j ACCEPT"},
		{"log", "nft insert rule ip istio-init nat-OUTPUT counter log", 0, "-nf_tables rule of the expressions counter, log"},
		{"counter", edited("s/jump nat-ISTIO_OUTPUT/counter &/"), 0, "--j ISTIO_OUTPUT (with a counter)"},
		{"no-hook", edited("/" + hook + "/d"), 1, "+-j ISTIO_OUTPUT"},
		{"other-priority", edited("s/" + hook + "/hook output priority -5/"), 2, "+-j ISTIO_OUTPUT"},
		{"policy-drop", edited("/" + hook + "/s/accept/drop/"), 2, "+-j ISTIO_OUTPUT"},
		{"base-chain", "nft 'add chain ip istio-init mine { type nat hook output priority -150; }; add rule ip istio-init mine tcp dport 80 redirect to :7777'", 2, "@@ mine @@"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.sh(linkOutside)
			s.exits(0, in(native, asRedirect)...)
			s.sh(tt.edit)
			s.exits(tt.captured, "trace", "--to", "8.8.8.8:80", "--expect", "captured")
			if answer := s.exits(exitDrifted, checkOf(native, asRedirect)...); !strings.Contains(answer, tt.drift) {
				t.Errorf("check does not name the drift %q:\n%s", tt.drift, answer)
			}
			if answer := s.exits(0, "check"); strings.Contains(answer, "made by") {
				t.Errorf("check says that the rules are ours alone:\n%s", answer)
			}
			if log := s.exits(0, in(native, asRedirect)...); strings.Contains(log, "warn") || strings.Contains(log, "of Istio") {
				t.Errorf("apply complains:\n%s", log)
			}
			s.exits(0, checkOf(native, asRedirect)...)
		})
	}
}

// linkOutside gives the namespace a route.
const linkOutside = "ip link add eth0 type veth peer name outside; ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0; ip route add default via 10.0.0.1"

// edited is a command that changes the text of our table and loads it.
func edited(script string) string {
	return `edited=$(nft list table ip istio-init | sed '` + script + `'); nft delete table ip istio-init; echo "$edited" | nft -f -`
}

// TestTableOfOurNameInAnotherFamilyIsForeign: it is none of ours, so it may decide first and stays.
func TestTableOfOurNameInAnotherFamilyIsForeign(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.sh(linkOutside)
	s.sh("nft 'add table bridge istio-init; add table inet istio-init; add chain inet istio-init nat-OUTPUT { type filter hook output priority -150; }; add rule inet istio-init nat-OUTPUT tcp dport 80 drop'")
	before := s.sh("nft list ruleset")
	s.exits(0, in(native, asRedirect)...)
	if answer := s.exits(exitUnknown, "trace", "--to", "8.8.8.8:80", "--expect", "captured"); !strings.Contains(answer, "nft table inet istio-init") {
		t.Errorf("trace does not name the chain:\n%s", answer)
	}
	s.exits(0, "clean")
	if after := s.sh("nft list ruleset"); after != before {
		t.Errorf("clean has changed tables of others:\n%s\nbefore:\n%s", after, before)
	}
}

// TestNativeTablesKeepTheirOrder: a change that is staged for IPv6 alone, since only there a new set
// has intervals, leaves the tables in the order of the preview.
func TestNativeTablesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	both := []string{applyCommand, "-i", "*", "-b", "*", "--ip-family", "dual", "--native-nftables"}
	s.exits(0, both...)
	next := append(both, "-m", "TPROXY", "-x", "fc00::/16,fd00::/8", "--log_output_level", "none")
	preview := withoutComments(s.exits(0, append(next, "--dry-run")...))
	s.exits(0, next...)
	if diff := cmp.Diff(preview, s.sh("nft list ruleset")); diff != "" {
		t.Errorf("the kernel has other tables than the preview (-want +got):\n%s", diff)
	}
}
