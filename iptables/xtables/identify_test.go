package xtables

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// unreadableSave has a rule of wantOurs in words that the types cannot express.
const unreadableSave = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n" +
	":ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -m owner --owner-user 1337 -j RETURN\nCOMMIT\n"

// withIptables returns a backend with a program that answers as iptables does when it
// is asked, and the file in which it leaves what it was asked.
func withIptables(t *testing.T, answer string) (b *Backend, asked string) {
	t.Helper()
	dir := t.TempDir()
	asked = filepath.Join(dir, "asked")
	program(t, dir, "iptables", `case $1 in --version) echo "iptables v1.99.0 (nf_tables)"; exit;; esac; echo "$@" >>`+asked+"\n"+answer)
	b = &Backend{variant: NFT}
	b.families[inet.IPv4].restore = filepath.Join(dir, "iptables-restore")
	return b, asked
}

func TestIdentifyComparesUnreadableRulesByCheckCommand(t *testing.T) {
	t.Parallel()
	const question = "-t nat -C ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n"
	tests := []struct {
		name, save, answer string
		asked              string
		nothing            bool   // is to be changed
		err                string // "" for none
	}{
		{"it-is", unreadableSave, "exit 0", question, true, ""},
		{"it-is-not", unreadableSave, "echo Bad rule >&2; exit 1", question, false, ""},
		{"iptables-fails", unreadableSave, "echo no lock >&2; exit 4", question, false, "exit status 4: no lock"},
		{"nothing-is-unreadable", strings.Replace(unreadableSave, "--owner-user", "--uid-owner", 1), "exit 1", "", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, asked := withIptables(t, tt.answer)
			have, unasked, err := b.Identify(t.Context(), live(t, inet.IPv4, tt.save), wantOurs)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) || unasked != nil {
				t.Errorf("want the error %q, got %v, and unasked %v", tt.err, err, unasked)
			}
			questions, _ := os.ReadFile(asked) // not there: none was asked
			if diff := cmp.Diff(tt.asked, string(questions)); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			change, err := Plan(NFT, have, wantOurs)
			if err != nil || change.Empty() != tt.nothing {
				t.Errorf("nothing to do: want %t, got %q, %v", tt.nothing, Script(change), err)
			}
		})
	}
}

func TestIdentifyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, _ := withIptables(t, "exit 0")
	if _, _, err := b.Identify(ctx, live(t, inet.IPv4, unreadableSave), wantOurs); !errors.Is(err, context.Canceled) {
		t.Errorf("want that the run was cancelled, got %v", err)
	}
}

// TestIdentifyWithoutUsableIptables: the rule counts as different then.
func TestIdentifyWithoutUsableIptables(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		variant Variant
		cfg     Config
		family  inet.Family
		missing bool
		want    string // "" for asked
	}{
		{"as-root", NFT, Config{}, inet.IPv4, false, ""},
		{"legacy-with-another-lock", Legacy, Config{OwnLock: true}, inet.IPv4, false, ""},
		{"legacy", Legacy, Config{}, inet.IPv4, false, ""},
		{"legacy-ipv6", Legacy, Config{}, inet.IPv6, false, "other values"},
		{"without-the-program", NFT, Config{}, inet.IPv4, true, "is not installed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, asked := withIptables(t, "exit 0")
			if tt.missing {
				if err := os.Remove(strings.TrimSuffix(b.families[inet.IPv4].restore, "-restore")); err != nil {
					t.Fatal(err)
				}
			}
			as, err := newBackend(tt.variant, tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			as.families[tt.family] = b.families[inet.IPv4]
			want := iptables.Ruleset{Family: tt.family, Tables: wantOurs.Tables}
			have, unasked, err := as.Identify(t.Context(), live(t, tt.family, unreadableSave), want)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if len(unasked) > 0 {
					t.Errorf("want iptables asked, got %v", unasked)
				}
				return
			}
			if len(unasked) != 1 || !strings.Contains(unasked[0].Unasked, tt.want) {
				t.Errorf("want one rule, not asked since %s, got %v", tt.want, unasked)
			}
			if _, err := os.Stat(asked); err == nil {
				t.Error("iptables was asked")
			}
			if change, err := Plan(tt.variant, have, want); err != nil || change.Empty() {
				t.Errorf("want a change, got %q, %v", Script(change), err)
			}
		})
	}
}
