package xtables

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/netutil/inet"
)

// TestRestoreErrorQuotesTheRefusedLine has what iptables-restore 1.8.9 said to
// scripts that it or the kernel refused.
func TestRestoreErrorQuotesTheRefusedLine(t *testing.T) {
	t.Parallel()
	const try = "Try `iptables-restore -h' or 'iptables-restore --help' for more information.\n"
	tests := []struct {
		name           string
		script, stderr string
		line           int
		text           string
	}{
		{
			"nft-unknown-option", "*nat\n-A ISTIO_A --foo -j RETURN\nCOMMIT\n",
			"iptables-nft-restore v1.8.9 (nf_tables): unknown option \"--foo\"\nError occurred at line: 2\n" + try, 2, "-A ISTIO_A --foo -j RETURN",
		},
		{
			"nft-no-such-chain", "*nat\n-A ISTIO_NO -j ACCEPT\nCOMMIT\n",
			"iptables-nft-restore: line 2 failed: No chain/target/match by that name.\n", 2, "-A ISTIO_NO -j ACCEPT",
		},
		{
			"nft-refused-by-the-kernel", "*mangle\n:ISTIO_T - [0:0]\n-A PREROUTING -j ISTIO_T\n-A ISTIO_T -j TPROXY --on-port 15001\nCOMMIT\n",
			"iptables-nft-restore v1.8.9 (nf_tables): \nline 4: RULE_APPEND failed (Invalid argument): rule in chain ISTIO_T\n", 4, "-A ISTIO_T -j TPROXY --on-port 15001",
		},
		{
			"nft-chain-in-use", "*nat\n-X ISTIO_A\nCOMMIT\n",
			"iptables-nft-restore v1.8.9 (nf_tables): \nline 2: CHAIN_DEL failed (Device or resource busy): chain ISTIO_A\n", 2, "-X ISTIO_A",
		},
		{
			"nft-unknown-table", "*nat\n:ISTIO_A - [0:0]\nCOMMIT\n*nope\nCOMMIT\n",
			"iptables-nft-restore v1.8.9 (nf_tables): iptables-nft-restore: line 4 table name 'nope' invalid\nError occurred at line: 4\n" + try, 4, "*nope",
		},
		{
			"nft-no-commit", "*nat\n-A OUTPUT -j ACCEPT\n",
			"iptables-nft-restore: COMMIT expected at line 3\n", 3, "",
		},
		{
			"legacy-unknown-option", "*nat\n-A ISTIO_A --foo -j RETURN\nCOMMIT\n",
			"iptables-restore v1.8.9 (legacy): unknown option \"--foo\"\nError occurred at line: 2\n" + try, 2, "-A ISTIO_A --foo -j RETURN",
		},
		{
			"legacy-missing-target", "*nat\n-A ISTIO_A -j ISTIO_NO\nCOMMIT\n",
			"iptables-restore v1.8.9 (legacy): Couldn't load target `ISTIO_NO':No such file or directory\n\nError occurred at line: 2\n" + try, 2, "-A ISTIO_A -j ISTIO_NO",
		},
		{"legacy-no-such-rule", "*nat\n-D OUTPUT -j ACCEPT\nCOMMIT\n", "iptables-restore: line 2 failed\n", 2, "-D OUTPUT -j ACCEPT"},
		{
			"legacy-table-refused-by-the-kernel", "*nat\n:ISTIO_L - [0:0]\n-A ISTIO_L -j ISTIO_A\n-A ISTIO_A -j ISTIO_L\nCOMMIT\n",
			"iptables-restore: line 5 failed\n", 5, "COMMIT",
		},
		{
			"no-line", "*nat\nCOMMIT\n",
			"iptables-restore v1.8.9 (legacy): can't initialize iptables table `nat': Permission denied (you must be root)\n", 0, "",
		},
		{"line-that-is-not-there", "*nat\nCOMMIT\n", "iptables-restore: line 12 failed\n", 0, ""},
		{"line-zero", "*nat\nCOMMIT\n", "iptables-restore: line 0 failed\n", 0, ""},
		{"number-too-big", "*nat\nCOMMIT\n", "iptables-restore: line 99999999999999999999 failed\n", 0, ""},
		{"silent", "*nat\nCOMMIT\n", "", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &process{stdin: tt.script, err: errors.New("exit status 1")}
			p.stderr = []byte(tt.stderr)
			e := newRestoreError(inet.IPv4, NFT, p)
			if e.Line != tt.line || e.Text != tt.text {
				t.Errorf("want line %d %q, got line %d %q", tt.line, tt.text, e.Line, e.Text)
			}
			if strings.Contains(e.Error(), "\n") {
				t.Errorf("not one line: %q", e.Error())
			}
			if !errors.Is(e, p.err) {
				t.Errorf("want it to wrap %v, got %v", p.err, e)
			}
		})
	}
}

func TestRestoreErrorText(t *testing.T) {
	t.Parallel()
	e := &RestoreError{Family: inet.IPv6, Variant: Legacy, Line: 2, Text: "-A X", Stderr: "line 2 failed", Err: errors.New("exit status 1")}
	want := `restore rules (ipv6, legacy): line 2 "-A X": exit status 1: line 2 failed`
	if diff := cmp.Diff(want, e.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	e.Line, e.Text = 0, ""
	want = `restore rules (ipv6, legacy): exit status 1: line 2 failed`
	if diff := cmp.Diff(want, e.Error()); diff != "" {
		t.Errorf("without a line (-want +got):\n%s", diff)
	}
	e.Stderr = ""
	want = `restore rules (ipv6, legacy): exit status 1`
	if diff := cmp.Diff(want, e.Error()); diff != "" {
		t.Errorf("without a word of iptables (-want +got):\n%s", diff)
	}
}
