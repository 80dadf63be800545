package iptables

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
			e := newRestoreError(IPv4, NFT, p)
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
	e := &RestoreError{Family: IPv6, Variant: Legacy, Line: 2, Text: "-A X", Stderr: "line 2 failed", Err: errors.New("exit status 1")}
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

func shell(script string) *process {
	return &process{path: "/bin/sh", args: []string{"-c", script}, env: []string{"ONLY=this"}}
}

func TestRunAllGivesInputAndTakesOutput(t *testing.T) {
	t.Parallel()
	talks, fails, missing := shell(`cat; echo to stderr >&2`), shell("exit 3"), &process{path: "/no/such/program"}
	talks.stdin = "from stdin"
	environment := shell("set | grep -c ONLY; echo ${HOME-none}")
	runAll(t.Context(), []*process{talks, fails, missing, environment})
	if talks.err != nil || string(talks.stdout) != "from stdin" || talks.stderrText() != "to stderr" {
		t.Errorf("want its input and its words, got %q, %q, %v", talks.stdout, talks.stderrText(), talks.err)
	}
	if fails.err == nil || fails.err.Error() != "exit status 3" {
		t.Errorf("want exit status 3, got %v", fails.err)
	}
	if !errors.Is(missing.err, fs.ErrNotExist) {
		t.Errorf("want that the program is missing, got %v", missing.err)
	}
	if got := string(environment.stdout); got != "1\nnone\n" {
		t.Errorf("want an environment of its own, got %q", got)
	}
}

// TestRunAllWaitsForNobodyToRead has more input and output than a pipe holds, and a
// program that reads nothing.
func TestRunAllWaitsForNobodyToRead(t *testing.T) {
	t.Parallel()
	much := strings.Repeat("0123456789abcde\n", 1<<15)
	echoes, deaf := shell("tee /dev/stderr"), shell("exit 0")
	echoes.stdin, deaf.stdin = much, much
	quiet := shell("cat; echo to stderr >&2")
	quiet.stdin, quiet.mute = "from stdin\n", true
	runAll(t.Context(), []*process{echoes, deaf, quiet})
	for _, p := range []*process{echoes, deaf, quiet} {
		if p.err != nil {
			t.Errorf("%s: %v", p.args, p.err)
		}
	}
	if string(echoes.stdout) != much || string(echoes.stderr) != much {
		t.Errorf("want %d bytes of both, got %d and %d", len(much), len(echoes.stdout), len(echoes.stderr))
	}
	if len(quiet.stdout) > 0 || quiet.stderrText() != "from stdin to stderr" {
		t.Errorf("want all of what a mute one says among its complaints, got %q and %q", quiet.stdout, quiet.stderr)
	}
}

func TestRunAllRunsAtTheSameTime(t *testing.T) {
	t.Parallel()
	// Each waits for the other through a pipe in the file system: one after
	// the other they would never end.
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	one := shell("mkfifo " + dir + "/a 2>/dev/null; echo one > " + dir + "/a")
	two := shell("mkfifo " + dir + "/a 2>/dev/null; cat " + dir + "/a")
	runAll(ctx, []*process{one, two})
	if one.err != nil || two.err != nil || string(two.stdout) != "one\n" {
		t.Errorf("want one to hear the other, got %v, %v, %q", one.err, two.err, two.stdout)
	}
}

func TestRunAllEndsWithItsContext(t *testing.T) {
	t.Parallel()
	// Long enough for the quick one on a busy machine.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	slow, quick := &process{path: "/bin/sleep", args: []string{"60"}}, shell("exit 0")
	start := time.Now()
	runAll(ctx, []*process{slow, quick})
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	if !errors.Is(slow.err, context.DeadlineExceeded) {
		t.Errorf("want that the time was over, got %v", slow.err)
	}
	if quick.err != nil {
		t.Errorf("want the quick one to be done, got %v", quick.err)
	}
}
