package xtables

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/netutil/inet"
	"istio-init/test/executable"
)

const (
	oursSave    = "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n"
	foreignSave = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n"
	emptySave   = "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
)

// live returns the state of a family from the text of iptables-save; "missing" stands for
// one whose programs are not installed.
func live(t *testing.T, f inet.Family, save string) FamilyState {
	t.Helper()
	if save == "missing" {
		return FamilyState{Rules: iptables.Snapshot{Family: f}, Err: exec.ErrNotFound}
	}
	rules := parse(t, f, save)
	return FamilyState{Present: save != "", Rules: rules, Own: ownISTIO(rules)}
}

func parse(t *testing.T, f inet.Family, text string) iptables.Snapshot {
	t.Helper()
	s, err := iptables.ParseSnapshot(f, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ownISTIO says that chains are ours whose names begin with ISTIO_.
func ownISTIO(s iptables.Snapshot) iptables.Ownership {
	own := iptables.Ownership{Chains: map[iptables.ChainName]bool{}}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			if strings.HasPrefix(c.Name, "ISTIO_") {
				own.Chains[iptables.ChainName{Table: t.Name, Chain: c.Name}] = true
			}
		}
	}
	return own
}

func TestVariantText(t *testing.T) {
	t.Parallel()
	for _, want := range Variants {
		var got Variant
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%s: got %s, %v", want, got, err)
		}
	}
	for _, bad := range []string{"", "NFT", "auto", "nft "} {
		var got Variant
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q: want an error, got %s", bad, got)
		}
	}
}

// program writes an executable script and returns its path.
func program(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := executable.Write(path, []byte("#!/bin/sh\n"+script)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestVariantOfProgram has the version lines of iptables 1.8.9 and 1.6.1.
func TestVariantOfProgram(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, installed, version string
		want                     Variant
	}{
		{"link-to-nft", "xtables-nft-multi", "exit 1", NFT},
		{"link-to-legacy", "xtables-legacy-multi", "exit 1", Legacy},
		{"says-nft", "one", "echo 'iptables-restore v1.8.9 (nf_tables)'", NFT},
		{"says-legacy", "one", "echo 'iptables-restore v1.8.9 (legacy)'", Legacy},
		{"says-nothing", "one", "echo 'iptables-restore v1.6.1'", Legacy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			link := filepath.Join(dir, "iptables-restore")
			if err := os.Symlink(program(t, dir, tt.installed, tt.version), link); err != nil {
				t.Fatal(err)
			}
			if got, err := (Config{}).variantOf(t.Context(), link); got != tt.want || err != nil {
				t.Errorf("want %s, got %s (%v)", tt.want, got, err)
			}
		})
	}
}

func TestVariantOfBrokenProgram(t *testing.T) {
	t.Parallel()
	path := program(t, t.TempDir(), "iptables-restore", "echo no such library >&2; exit 127")
	_, err := Config{}.variantOf(t.Context(), path)
	if want := path + " --version: exit status 127: no such library"; err == nil || err.Error() != want {
		t.Errorf("want %s, got %v", want, err)
	}
}

// The names are of no real program, since system directories are searched too.
func TestLookPathTakesExecutableFilesOfAbsoluteDirectories(t *testing.T) {
	dir := t.TempDir()
	want := program(t, dir, "istio-init-test-tool", "")
	if err := os.WriteFile(filepath.Join(dir, "istio-init-test-text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "istio-init-test-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Path: ".:/no/such/dir:" + dir}
	if got := cfg.lookPath("istio-init-test-tool"); got != want {
		t.Errorf("want %s, got %q", want, got)
	}
	for _, name := range []string{"istio-init-test-text", "istio-init-test-dir", "istio-init-test-nothing"} {
		if got := cfg.lookPath(name); got != "" {
			t.Errorf("%s: want nothing, got %s", name, got)
		}
	}
	t.Chdir(dir)
	if got := (Config{Path: "."}).lookPath("istio-init-test-tool"); got != "" {
		t.Errorf("in the current directory: want nothing, got %s", got)
	}
}

func TestChildEnvironment(t *testing.T) {
	t.Parallel()
	of := map[string]string{"XTABLES_LOCKFILE": "/tmp/lock", "XTABLES_LIBDIR": "/lib/x", "LD_PRELOAD": ""}
	cfg := Config{Env: Env(func(name string) (string, bool) {
		value, ok := of[name]
		return value, ok
	})}
	want := []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "XTABLES_LIBDIR=/lib/x", "XTABLES_LOCKFILE=/tmp/lock"}
	if diff := cmp.Diff(want, cfg.env()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOwnLockReplacesTheLockFile: of a variable that is there twice, C programs take
// the first.
func TestOwnLockReplacesTheLockFile(t *testing.T) {
	t.Parallel()
	theirs := []string{"XTABLES_LOCKFILE=/theirs"}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"ours", Config{OwnLock: true, Env: theirs}, "XTABLES_LOCKFILE=/proc/self/fd/3"},
		{"theirs", Config{Env: theirs}, "XTABLES_LOCKFILE=/theirs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := newBackend(Legacy, tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(b.files...)
			p := shell("set")
			p.path, p.args, p.env, p.files = "/usr/bin/env", nil, b.env, b.files
			runAll(t.Context(), []*process{p})
			got := slices.DeleteFunc(strings.Split(string(p.stdout), "\n"), func(s string) bool { return !strings.HasPrefix(s, "XTABLES_LOCKFILE") })
			if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadRunsTheSaveAgainWhereItPrintsATableTwice: the program prints it as often as a file has lines.
func TestReadRunsTheSaveAgainWhereItPrintsATableTwice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		times int
		want  string // "" for no error
	}{{0, ""}, {1, ""}, {4, ""}, {9, "the table is there twice"}}
	for _, tt := range tests {
		t.Run(strconv.Itoa(tt.times), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			left := filepath.Join(dir, "left")
			if err := os.WriteFile(left, []byte(strings.Repeat("x\n", tt.times)), 0o600); err != nil {
				t.Fatal(err)
			}
			b := &Backend{variant: Legacy}
			b.families[inet.IPv4].present = true
			b.families[inet.IPv4].save = program(t, dir, "iptables-legacy-save", fmt.Sprintf("table() { echo '*nat'; echo COMMIT; }; table; if [ -s %[1]s ]; then table; sed -i 1d %[1]s; fi\n", left))
			s := b.Read(t.Context())[inet.IPv4]
			if tt.want == "" && (s.Err != nil || len(s.Rules.Tables) != 1) || tt.want != "" && (s.Err == nil || !strings.Contains(s.Err.Error(), tt.want)) {
				t.Errorf("want the error %q, got %v and %d tables", tt.want, s.Err, len(s.Rules.Tables))
			}
		})
	}
}
