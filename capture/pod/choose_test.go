package pod

import (
	"errors"
	"os/exec"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

const (
	oursSave    = "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n"
	foreignSave = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n"
	emptySave   = "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
	notFound    = "executable file not found in $PATH"
)

var missing = [2]string{"missing", "missing"}

// seen returns the state of a backend from the texts of iptables-save; "missing" stands
// for a family whose programs are not installed.
func seen(t *testing.T, name Name, texts [2]string) State {
	t.Helper()
	m := &memory{name: name}
	for _, f := range inet.Families {
		s := &m.families[f]
		if s.Rules.Family = f; texts[f] == "missing" {
			s.Err = exec.ErrNotFound
			continue
		}
		var err error
		if s.Rules, err = iptables.ParseSnapshot(f, texts[f]); err != nil {
			t.Fatal(err)
		}
		s.Own, s.Present = infer.Ownership(s.Rules), texts[f] != ""
	}
	return m.Read(t.Context())
}

func TestChoose(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		nft, legacy [2]string // texts of iptables-save by family
		native      [2]string // of the rules in our tables
		notLoaded   bool      // the legacy variant, in IPv6
		force       Name
		need        []inet.Family
		want        Name
		reason      string
		err         error
	}{
		{name: "fresh", want: NFT, reason: "usable, and no backend holds rules"},
		{name: "empty-tables-are-no-rules", legacy: [2]string{emptySave}, want: NFT, reason: "usable, and no backend holds rules"},
		{name: "nft-holds-ours", nft: [2]string{oursSave}, legacy: [2]string{foreignSave}, want: NFT, reason: "it holds rules of ours"},
		{name: "legacy-holds-ours", nft: [2]string{foreignSave}, legacy: [2]string{oursSave}, want: Legacy, reason: "it holds rules of ours"},
		{name: "legacy-holds-ours-in-ipv6-only", nft: [2]string{foreignSave}, legacy: [2]string{"", oursSave}, want: Legacy, reason: "it holds rules of ours"},
		{name: "both-hold-ours", nft: [2]string{oursSave}, legacy: [2]string{oursSave}, want: NFT, reason: "it holds rules of ours"},
		{name: "ours-decide-though-unusable", legacy: [2]string{oursSave, "missing"}, want: Legacy, reason: "it holds rules of ours", err: exec.ErrNotFound},
		{name: "nft-holds-rules", nft: [2]string{foreignSave}, want: NFT, reason: "it holds rules"},
		{name: "legacy-holds-rules", legacy: [2]string{foreignSave}, want: Legacy, reason: "it holds rules"},
		{name: "both-hold-rules", nft: [2]string{foreignSave}, legacy: [2]string{foreignSave}, want: NFT, reason: "it holds rules"},
		{name: "rules-do-not-decide-when-unusable", legacy: [2]string{foreignSave, "missing"}, want: NFT, reason: "usable, and no backend holds rules"},
		{
			name: "nft-unusable", nft: [2]string{"missing", "missing"}, want: Legacy,
			reason: "iptables-nft is not usable: ipv4 nft: executable file not found in $PATH; ipv6 nft: executable file not found in $PATH",
		},
		{name: "both-families-go-together", nft: [2]string{"", "missing"}, want: Legacy, reason: "iptables-nft is not usable: ipv6 nft: executable file not found in $PATH"},
		{name: "family-that-is-not-needed", nft: [2]string{"", "missing"}, need: []inet.Family{inet.IPv4}, want: NFT, reason: "usable, and no backend holds rules"},
		{
			name: "no-program", nft: missing, legacy: missing, want: NFTables,
			reason: "no variant of iptables is usable: ipv4 nft: " + notFound + "; ipv6 nft: " + notFound + "; ipv4 legacy: " + notFound + "; ipv6 legacy: " + notFound,
		},
		{
			name: "legacy-not-in-the-kernel", nft: missing, notLoaded: true, want: NFTables,
			reason: "no variant of iptables is usable: ipv4 nft: " + notFound + "; ipv6 nft: " + notFound + "; ipv6 legacy: not loaded",
		},
		{name: "legacy-not-in-the-kernel-nor-needed", nft: missing, notLoaded: true, need: inet.Families[:1], want: Legacy, reason: "iptables-nft is not usable: ipv4 nft: " + notFound},
		{
			name: "legacy-may-be-loaded", nft: missing, notLoaded: true, native: missing, want: Legacy,
			reason: "no backend is ready, and iptables may load this one: ipv4 nft: " + notFound + "; ipv6 nft: " + notFound +
				"; ipv6 legacy: not loaded; ipv4 nftables: " + notFound + "; ipv6 nftables: " + notFound,
		},
		{name: "native-holds-ours", nft: [2]string{foreignSave}, legacy: [2]string{foreignSave}, native: [2]string{oursSave}, want: NFTables, reason: "it holds rules of ours"},
		{name: "native-and-nft-hold-ours", nft: [2]string{oursSave}, native: [2]string{oursSave}, want: NFT, reason: "it holds rules of ours"},
		{name: "native-holds-ours-and-nothing-else-works", nft: missing, legacy: missing, native: [2]string{oursSave}, want: NFTables, reason: "it holds rules of ours"},
		{name: "live-rules-keep-a-backend-that-does-not-work", nft: [2]string{oursSave, "missing"}, want: NFT, reason: "it holds rules of ours", err: exec.ErrNotFound},
		{name: "forced-native", nft: [2]string{oursSave}, force: NFTables, want: NFTables, reason: "forced"},
		{name: "forced-legacy", nft: [2]string{oursSave}, force: Legacy, want: Legacy, reason: "forced"},
		{name: "forced-nft", legacy: [2]string{oursSave}, force: NFT, want: NFT, reason: "forced"},
		{name: "forced-but-unusable", nft: [2]string{"missing", "missing"}, force: NFT, want: NFT, reason: "forced", err: exec.ErrNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			states := []State{seen(t, NFT, tt.nft), seen(t, Legacy, tt.legacy), seen(t, NFTables, tt.native)}
			if tt.notLoaded {
				states[1].notLoaded[inet.IPv6] = errors.New("not loaded")
			}
			need := tt.need
			if need == nil {
				need = inet.Families[:]
			}
			chosen, reason, err := choose(states, tt.force, need)
			if !errors.Is(err, tt.err) {
				t.Errorf("error: want %v, got %v", tt.err, err)
			}
			if chosen.Backend == nil || chosen.Backend.Name() != tt.want {
				t.Fatalf("want %s, got %v", tt.want, chosen.Backend)
			}
			if diff := cmp.Diff(tt.reason, reason); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseFindsNothingUsable(t *testing.T) {
	t.Parallel()
	states := []State{seen(t, NFT, [2]string{"missing", "missing"}), seen(t, Legacy, [2]string{"missing"})}
	chosen, _, err := choose(states, "", inet.Families[:])
	if chosen.Backend != nil || !errors.Is(err, ErrNoBackend) || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("want no backend, ErrNoBackend and its cause, got %v, %v", chosen.Backend, err)
	}
}

func TestABackendHoldsOursInEitherFamily(t *testing.T) {
	t.Parallel()
	var got []bool
	for _, saves := range [][2]string{{}, {foreignSave, foreignSave}, {oursSave}, {"", oursSave}} {
		got = append(got, seen(t, NFT, saves).Holds())
	}
	if want := []bool{false, false, true, true}; !slices.Equal(want, got) {
		t.Errorf("want %t, got %t", want, got)
	}
}
