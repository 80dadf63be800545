package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"istio-init/test/scenario"
	"istio-init/test/schemas"
)

// checkJSON runs a command with --output json, and returns its exit code and its document,
// which has to be of a kind and of its schema.
func checkJSON(t *testing.T, kind string, args ...string) (code int, document string) {
	t.Helper()
	code, stdout, stderr := runCommand(t, append(args, "--output", "json")...)
	got, err := schemas.Validate("../..", []byte(stdout))
	if err != nil {
		t.Errorf("%q: %v\n%s%s", args, err, stdout, stderr)
	}
	if kind != "" && got != kind {
		t.Errorf("%q: a document of the kind %q, want %q\n%s%s", args, got, kind, stdout, stderr)
	}
	return code, stdout
}

// TestJSONOfScenariosIsOfItsSchema plans each scenario, and follows connections.
func TestJSONOfScenariosIsOfItsSchema(t *testing.T) {
	t.Parallel()
	for _, s := range scenario.All(t, testdata) {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			args := slices.DeleteFunc(slices.Clone(s.Args), func(word string) bool { return word == "--redirect-dns" })
			checkJSON(t, "apply", append([]string{"apply", "--dry-run"}, args...)...)
			checkJSON(t, "rules", append([]string{"explain"}, args...)...)
			for _, c := range [][]string{{"--to", "10.0.0.5:80"}, {"--from", "203.0.113.9", "--to", ":80"}, {"--proto", "udp", "--to", "10.96.0.10:53", "--redirect-dns"}, {"--uid", "1337", "--to", "[2001:db8::5]:443"}} {
				checkJSON(t, "path", slices.Concat([]string{"trace"}, args, c)...)
			}
		})
	}
}

// TestJSONOfDumpsIsOfItsSchema has rules of other meshes, and dumps that are refused.
func TestJSONOfDumpsIsOfItsSchema(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(dumpFile("*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dumps (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			for _, args := range [][]string{
				{"check"},
				{"check", "--ip-family", "dual", "-i", "*", "-b", "*", "-d", "15090"},
				{"check", "-m", "TPROXY", "-b", "80", "--ip-family", "ipv4"},
				{"explain"},
				{"trace", "--to", "10.0.0.5:80"},
				{"trace", "--from", "10.1.1.1", "--to", ":22"},
				{"trace", "--proto", "udp", "--to", "[2001:db8::5]:53"},
			} {
				checkJSON(t, "", append(args, "--rules", file)...)
			}
		})
	}
}

// TestJSONOfErrorsIsOfItsSchema: also an error of the command line is a document.
func TestJSONOfErrorsIsOfItsSchema(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, args, code string
		exit             int
	}{
		{"unknown-flag", "apply --no-such-flag", "invalid-input", 1},
		{"unknown-flag-of-check", "check --no-such-flag", "invalid-input", exitUnknown},
		{"unknown-command", "install", "usage", 1},
		{"argument", "trace 10.0.0.5:443", "invalid-input", exitUnknown},
		{"values", "apply -b 80a -m BOTH", "invalid-input", 1},
		{"values-of-clean", "clean --timeout 0s", "invalid-input", 1},
		{"version", "version now", "usage", 1},
		{"no-file", "check --rules /no/such/file", "failed", exitUnknown},
		{"no-namespace", "apply --network-namespace /no/such/file", "failed", 1},
		{"no-target", "trace", "invalid-input", exitUnknown},
		{"families", "trace --from 10.0.0.1 --to [2001:db8::1]:80", "invalid-input", exitUnknown},
		{"no-device", "trace --from 10.0.0.1 --in no-such0 --to :80 --rules live", "invalid-input", exitUnknown},
		{"require-beside-flags", "check --require captured -b 80 --rules " + dumpFile("linkerd"), "invalid-input", exitUnknown},
		{"ambient", "check --rules " + dumpFile("ambient") + " -b * --ip-family ipv4", "ambient", exitUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			exit, document := checkJSON(t, "error", strings.Fields(tt.args)...)
			var got struct {
				Code     string
				Exit     int `json:"exit_code"`
				Problems []any
			}
			if err := json.Unmarshal([]byte(document), &got); err != nil {
				t.Fatal(err)
			}
			if exit != tt.exit || got.Exit != exit || got.Code != tt.code || (got.Code == "invalid-input") != (len(got.Problems) > 0) {
				t.Errorf("exit code %d, want %d and the code %s:\n%s", exit, tt.exit, tt.code, document)
			}
		})
	}
}

// TestEarlierValuesStay compares the keys from before documents had a schema.
func TestEarlierValuesStay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args string
		want map[string]string // JSON by key
	}{
		{"check --rules " + dumpFile("linkerd"), map[string]string{"rules": `"the rules of ` + dumpFile("linkerd") + `"`, "captures": "false", "meshes": `["Linkerd"]`}},
		{"check --rules " + dumpFile("sidecar"), map[string]string{"captures": "true", "families": `["ipv4"]`, "generation": `"1.15"`, "exact": "true"}},
		{"check -i * -b * --ip-family ipv4 --rules " + dumpFile("sidecar"), map[string]string{"in_order": "false", "dump": `"` + dumpFile("sidecar") + `"`}},
		{"trace --to 10.0.0.5:80 --rules " + dumpFile("sidecar"), map[string]string{"family": `"ipv4"`, "certain": "true", "rules": `"the rules of ` + dumpFile("sidecar") + `"`}},
	} {
		_, document := checkJSON(t, "", strings.Fields(tt.args)...)
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(document), &got); err != nil {
			t.Fatal(err)
		}
		for key, want := range tt.want {
			if value := oneLine(string(got[key])); strings.ReplaceAll(strings.ReplaceAll(value, "[ ", "["), " ]", "]") != want {
				t.Errorf("%s: %s is %s, want %s", tt.args, key, value, want)
			}
		}
	}
}

func TestDumpsAndScenariosHaveEveryResult(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"sidecar": "captured", "kube-proxy": "not-captured", "ambient": "ambient", "linkerd": "foreign", "incompatible": "unknown",
	} {
		_, document := checkJSON(t, "state", "check", "--rules", dumpFile(file))
		if !strings.Contains(document, `"result": "`+want+`"`) {
			t.Errorf("%s: want %s:\n%s", file, want, document)
		}
	}
	lost := filepath.Join(t.TempDir(), "lost")
	text, err := os.ReadFile(dumpFile("sidecar"))
	if err != nil {
		t.Fatal(err)
	}
	accepts := strings.NewReplacer("-A PREROUTING", "-A PREROUTING -j ACCEPT\n-A PREROUTING", "-A OUTPUT", "-A OUTPUT -j ACCEPT\n-A OUTPUT")
	if err := os.WriteFile(lost, []byte(accepts.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, document := checkJSON(t, "state", "check", "--rules", lost); !strings.Contains(document, `"result": "broken"`) {
		t.Errorf("with rules ahead: want broken:\n%s", document)
	}
}
