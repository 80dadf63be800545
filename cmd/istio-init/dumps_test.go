package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// runCommand runs a command line in this process, and returns what it prints with single spaces.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, messages bytes.Buffer
	code = execute(t.Context(), streams{
		args: append([]string{programName}, args...), env: func(string) (string, bool) { return "", false },
		stdin: strings.NewReader(""), stdout: &out, stderr: &messages,
	})
	return code, out.String(), messages.String()
}

func dumpFile(name string) string { return filepath.Join(testdata, "dumps", name+".txt") }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

const (
	sidecarInOut = "captured: inbound and outbound, ipv4"
	noIPv6       = "not certain: IPv6: not in this dump; ip6tables-save prints it"
	cleanDump    = `want what "iptables-save; ip6tables-save" prints (of a pod, on its node: nsenter -t PID -n`
	toProxy      = "captured: outbound -> proxy port 15001, because every destination is included by -i"
	made1x       = "made by istio-init apply -p 15001 -z 15006 -u 1337 -m REDIRECT -i '*' -x '' -b '*' -d \\ 15090,15021,15020 --compat 1.15"
	onlyNAT      = "not certain: ipv4: only the table nat is in this dump: rules of raw, mangle, filter could decide otherwise; iptables-save prints all tables"
)

const good, refused = 0, 1

// dumpTests are questions about dumps. What is wanted stands in the answer or else in the
// messages; what is unwanted in neither. Line breaks are spaces.
var dumpTests = []struct {
	name, file, args string
	exit             int
	want, unwanted   []string
}{
	{"sidecar", "sidecar", "check", good, []string{sidecarInOut, made1x, noIPv6}, []string{"note:", "not certain: ipv4"}},
	{"sidecar-ipv4", "sidecar", "trace --to 10.0.0.5:80", good, []string{toProxy}, []string{"not certain"}},
	{"sidecar-ipv6", "sidecar", "trace --to [2001:db8::5]:80", good, []string{"not known: no ip6tables-save in this dump", noIPv6}, []string{"passes"}},
	{"ipv6-only-asked-for-ipv4", "ipv6-only", "trace --to 10.0.0.5:80", good, []string{"not known: no iptables-save in this dump", "IPv4: not in this dump; iptables-save prints it"}, []string{"passes"}},
	{"ipv6-only", "ipv6-only", "trace --to [2001:db8::5]:80", good, []string{toProxy + "; not certain, see the end", "tables may be missing too (mangle, filter)"}, nil},
	{"legacy-warning", "legacy-warning", "check", exitUnknown, []string{"it is not known what is captured: this dump does not have the ipv4 rules of the variant legacy", "not certain: ipv4: line 1 of this dump says that the variant legacy has tables too, and every packet passes both; iptables-legacy-save prints them"}, nil},
	{"legacy-warning-trace", "legacy-warning", "trace --to 10.0.0.5:80", good, []string{"not certain, see the end", "iptables-legacy-save prints them"}, nil},
	{"legacy-warning-inside", "legacy-warning-inside", "trace --to 10.0.0.5:80", good, []string{toProxy + "; not certain, see the end", "line 17 of this dump says", "iptables-legacy-save prints them"}, nil},
	{"no-headers", "no-headers", "trace --from 203.0.113.9 --to :80", good, []string{
		"not certain, see the end", "line 8 of this dump: the table filter may be of ipv4 or of ipv6, which are both there",
	}, nil},
	{"no-headers-ipv6", "no-headers", "trace --from 2001:db8::9 --to :80", good, []string{"not certain, see the end", "the table filter may be of ipv4 or of ipv6"}, nil},

	{"list-rules", "list-rules", "check", good, []string{sidecarInOut, "-d \\ 22,15090,15021,15020 --compat 1.15", onlyNAT, noIPv6}, nil},
	{"list-rules-counters", "list-rules-counters", "check", good, []string{sidecarInOut, "made by", "-d \\ 22,15090,15021,15020 --compat 1.15", onlyNAT}, nil},
	{"list-rules-trace", "list-rules", "trace --from 10.244.1.1 --to :22", good, []string{"passes: not captured, because port 22 is excluded by -d; not certain, see the end", onlyNAT}, nil},
	{"restore-input", "restore-input", "check", good, []string{sidecarInOut, "made by", "-d 22,15090 \\ --compat 1.15", "the table nat in line 2 of this dump is input of iptables-restore: other rules and the policies of the table are not in it", onlyNAT}, nil},
	{"no-tcp-module", "no-tcp-module", "check", good, []string{sidecarInOut, made1x}, []string{"nearest"}},
	{"no-tcp-module-drift", "no-tcp-module", "check --ip-family ipv4 -i * -b * -d 15090,15021,15020 --compat 1.15", good, []string{"in order"}, nil},
	{"no-tcp-module-trace", "no-tcp-module", "trace --from 10.1.1.1 --to :15021", good, []string{"passes: not captured, because port 15021 is excluded by -d"}, []string{"not certain"}},
	{"no-chain-lines", "no-chain-lines", "check", exitUnknown, []string{"line 5", `the chain ISTIO_INBOUND is not declared: the lines ":CHAIN POLICY [0:0]" of the table nat are missing`, cleanDump}, nil},
	{"commands", "commands", "check", exitUnknown, []string{"line 1", "these are commands of iptables, and not the rules that are there", cleanDump}, nil},
	{"list", "list", "trace --to 10.0.0.5:80", exitUnknown, []string{"line 1", "this is what iptables -L prints", cleanDump}, nil},
	{"list-with-prompt", "list-with-prompt", "explain", refused, []string{"line 2", "this is what iptables -L prints", cleanDump}, nil},
	{"nft-ruleset", "nft-ruleset", "check", exitUnknown, []string{"line 1", "this is what nft list ruleset prints", cleanDump}, nil},
	{"cut-off", "cut-off", "check", exitUnknown, []string{"line 20", "COMMIT is missing: the table nat of line 2 does not end", cleanDump}, nil},
	{"no-commit", "no-commit", "check", exitUnknown, []string{`line 3 "*filter": COMMIT is missing: the table nat of line 1 does not end`}, nil},
	{"open-quote", "open-quote", "trace --to 10.0.0.5:80", exitUnknown, []string{"line 3", "a quote opens in this line and is not closed"}, nil},

	{"log-prefix", "log-prefix", "check", good, []string{sidecarInOut, made1x, `note: line 2 of this dump: the prefix "istio-cni-node-x1 " was cut, as in 30 lines`}, nil},
	{"cri-prefix", "cri-prefix", "check", good, []string{sidecarInOut, made1x, `note: line 1 of this dump: the prefix "2019-12-13T21:38:18.370036467Z stdout F " was cut, as in 30 lines`}, nil},
	{"line-numbers", "line-numbers", "check", good, []string{sidecarInOut, made1x, `note: line 1 of this dump: the prefix " 1\t" was cut, as in 30 lines`}, nil},
	{"escaped-newlines", "escaped-newlines", "check", good, []string{sidecarInOut, made1x, `note: line 1 of this dump: "\n" in two characters was read as the end of a line`}, nil},
	{"colours", "colours", "check", good, []string{sidecarInOut, made1x, "note: line 11 of this dump: colour codes were cut"}, nil},
	{"non-breaking-spaces", "non-breaking-spaces", "check", good, []string{sidecarInOut, made1x, "note: line 1 of this dump: non-breaking spaces were read as spaces"}, nil},
	{"comments-behind", "comments-behind", "check", good, []string{sidecarInOut, made1x, `note: line 2 of this dump: the comment "# a word about it" behind the line was cut, as in 28 lines`}, nil},
	{"typographic-dashes", "typographic-dashes", "check", good, []string{sidecarInOut, made1x, `note: line 13 of this dump: a typographic dash or quote in "—dport" was read as the one that iptables prints, as in 7 lines`}, nil},
	{"notes-do-not-make-a-trace-uncertain", "log-prefix", "trace --to 10.0.0.5:80", good, []string{toProxy, "note: line 2"}, []string{"not certain"}},

	{"ambient", "ambient", "check", good, []string{
		"the pod is in Istio's ambient mode, ipv4", "inbound TCP -> local port 15006 of ztunnel", "outbound TCP -> local port 15001 of ztunnel",
		"DNS queries UDP to port 53 -> local port 15053 of ztunnel", "proxy ztunnel, whose packets have mark 0x539/0xfff",
	}, []string{"made by", "nearest", "istio-init apply"}},
	{"ambient-flags", "ambient", "check --ip-family ipv4 -u 1337 -i * -b *", exitUnknown, []string{"the pod is captured by Istio's ambient mode"}, []string{"drift"}},
	{"ambient-trace", "ambient", "trace --to 10.0.0.5:80", good, []string{"captured by Istio ambient -> local port 15001"}, []string{"loops", "then proxy"}},
	{"linkerd", "linkerd", "check", good, []string{
		"captured by Linkerd: inbound and outbound, ipv4", "inbound TCP -> local port 4143 of the proxy; but not ports 4190, 4191, 4567, 4568",
		"outbound TCP -> local port 4140 of the proxy; but not ports 4567, 4568; interface lo", "proxy user 2102",
	}, []string{"nothing is captured"}},
	{"linkerd-trace", "linkerd", "trace --from 203.0.113.9 --to :80", good, []string{"captured by Linkerd -> local port 4143"}, []string{"loops"}},
	{"istio-1.0", "istio-1.0", "trace --from 203.0.113.9 --to :9080", good, []string{"captured: inbound -> proxy port 15001", "127.0.0.1:9080", "passes: not captured, because user 1337 is the proxy"}, []string{"loops"}},
	{"istio-1.3", "istio-1.3", "check", good, []string{"but not 22, which Istio 1.0 never captures; but not 15020 (-d)"}, []string{"15008 tunnels"}},
	{"istio-1.3-trace", "istio-1.3", "trace --from 203.0.113.9 --to :9080", good, []string{"captured: inbound -> proxy port 15006", "127.0.0.1:9080"}, []string{"loops"}},
	{"no-tunnel-port", "no-tunnel-port", "check", good, []string{"but not 15090, 15021, 15020 (-d)", "15001 out, 15006 in DNS", "made by"}, []string{"tunnels"}},
	{"incompatible", "incompatible", "check", exitUnknown, []string{"it is not known what is captured: iptables does not print the ipv4 table nat"}, []string{"nothing is captured"}},
	{"incompatible-trace", "incompatible", "trace --to 10.0.0.5:80", good, []string{"not known: iptables does not print the ipv4 table nat", "not certain: the ipv4 table nat"}, []string{"passes"}},
	{"kube-proxy", "kube-proxy", "check", good, []string{"nothing is captured: there are no rules of a mesh", noIPv6}, []string{"not certain: ipv4"}},
	{"kube-proxy-trace", "kube-proxy", "trace --to 10.0.0.5:80", good, []string{"passes: not captured"}, []string{"not certain"}},

	{"forward", "forward", "trace --from 203.0.113.9 --to 10.0.0.9:80", good, []string{
		"not certain: 10.0.0.9 is taken for the pod's own address; --pod-address tells. If it is not: dropped, because the policy of filter FORWARD is DROP",
	}, nil},
	{"forward-of-the-pod", "forward", "trace --from 203.0.113.9 --to 10.0.0.9:80 --pod-address 10.0.0.9", good, []string{"passes: not captured"}, []string{"is taken for"}},
	{"forward-of-another", "forward", "trace --from 203.0.113.9 --to 10.0.0.9:80 --pod-address 10.0.0.8", good, []string{"dropped, because the policy of filter FORWARD is DROP"}, []string{"is taken for"}},
	{"forward-of-docker", "forward", "trace --in docker0 --from 203.0.113.9 --to 10.0.0.9:80", good, []string{"10.0.0.9 is taken for the pod's own address; --pod-address tells. If it is not:", "the answer does not arrive, because the policy of filter FORWARD is DROP"}, nil},
	{"assumed-address-of-a-sidecar", "sidecar", "trace --from 10.1.1.1 --to 10.0.0.9:8080", good, []string{
		"captured: inbound -> proxy port 15006", "note: 10.0.0.9 is taken for the pod's own address",
	}, []string{"not certain"}},

	{"ambient-in", "ambient", "trace --from 10.1.1.1 --to :8080", good, []string{"captured by Istio ambient -> local port 15006"}, []string{"loops", "not certain"}},
	{"ambient-dns", "ambient", "trace --proto udp --to 10.96.0.10:53", good, []string{"captured by Istio ambient -> local port 15053"}, []string{"loops"}},
	{"ambient-proxy", "ambient", "trace --uid 0 --mark 0x539 --to 10.0.0.5:80", good, []string{"proxy (uid 0", "passes: not captured"}, []string{"loops"}},
	{"notrack", "notrack", "check", good, []string{"foreign rule ahead of ours, may take connections first: raw OUTPUT: -p tcp -m tcp --dport 9999 -j CT --notrack"}, nil},
	{"notrack-untracked", "notrack", "trace --to 10.0.0.5:9999", good, []string{"passes: not captured", "raw OUTPUT -p tcp -m tcp --dport 9999 -j CT --notrack"}, []string{"not certain", "nat OUTPUT"}},
	{"notrack-tracked", "notrack", "trace --to 10.0.0.5:443", good, []string{toProxy}, []string{"not certain"}},
	{"comment-first", "comment-first", "trace --from 203.0.113.9 --to :80", good, []string{"dropped, because the policy of filter INPUT is DROP"}, []string{"cannot be evaluated"}},
	{"comment-first-that-matches", "comment-first", "trace --from 10.1.1.1 --to :80", good, []string{"passes: not captured", "-s 10.0.0.0/8 -j ACCEPT"}, []string{"cannot be evaluated"}},
	{"linkerd-out", "linkerd", "trace --to 10.0.0.5:80", good, []string{"captured by Linkerd -> local port 4140"}, []string{"loops"}},
	{"linkerd-in", "linkerd", "trace --from 10.1.1.1 --to :8080", good, []string{"captured by Linkerd -> local port 4143"}, []string{"loops"}},
	{"linkerd-excluded", "linkerd", "trace --from 10.1.1.1 --to :4190", good, []string{"passes: not captured"}, nil},
	{"istio-1.3-port-22", "istio-1.3", "trace --from 10.1.1.1 --to :22", good, []string{"passes: not captured"}, nil},
	{"firewalld-new", "firewalld", "trace --from 203.0.113.9 --to :22", good, []string{"passes: not captured", "--ctstate NEW,UNTRACKED -j ACCEPT"}, []string{"cannot be evaluated: -m conntrack"}},
	{"firewalld-rejected", "firewalld", "trace --from 203.0.113.9 --to :23", good, []string{"dropped, by a foreign rule: filter INPUT -j REJECT"}, []string{"cannot be evaluated: -m conntrack"}},
	{"cilium", "cilium", "trace --to 10.0.0.5:80", good, []string{"passes: not captured"}, []string{"not certain"}},
	{"kube-proxy-local", "kube-proxy", "trace --from 10.1.1.1 --to :22", good, []string{"passes: not captured"}, []string{"not certain"}},

	{"drift-ipv4-only", "sidecar", "check --ip-family dual -i * -b * -d 15090,15021,15020 --compat 1.15", good, []string{"in order: ", noIPv6}, []string{"ipv6 ("}},
	{"drift-families-of-the-dump", "sidecar", "check -i * -b * -d 15090,15021,15020 --compat 1.15", good, []string{"in order: ", noIPv6}, []string{"warn", "ipv6 ("}},
	{"drift-families-of-an-ipv6-dump", "ipv6-only", "check -i * -b * -d 15090 --compat 1.15", exitDrift, []string{"drift: ", "ipv6 ("}, []string{"warn", "ipv4 ("}},
	{"drift-ipv6-not-there", "sidecar", "check --ip-family dual -i * -b * -d 15090 --compat 1.15", exitDrift, []string{"drift: ", noIPv6}, []string{"ipv6 ("}},
	{"drift-one-table", "list-rules", "check --ip-family ipv4 -m TPROXY -i * -b * -d 22,15090,15021,15020", exitDrift, []string{"drift: ", onlyNAT}, []string{"@@ mangle"}},
	{"drift-nothing-to-compare", "ipv6-only", "check --ip-family ipv4 -b 80 -m TPROXY", exitDrift, []string{"drift"}, nil},
}

// TestDumps asks about what people paste.
func TestDumps(t *testing.T) {
	t.Parallel()
	for _, tt := range dumpTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := runCommand(t, append(strings.Fields(tt.args), "--rules", dumpFile(tt.file))...)
			if code != tt.exit {
				t.Errorf("exit code: want %d, got %d", tt.exit, code)
			}
			text := oneLine(stdout + stderr)
			for _, want := range tt.want {
				if !strings.Contains(text, want) && !strings.Contains(text, strings.ReplaceAll(want, `"`, `\"`)) {
					t.Errorf("want %q", want)
				}
			}
			for _, unwanted := range tt.unwanted {
				if strings.Contains(text, unwanted) {
					t.Errorf("do not want %q", unwanted)
				}
			}
			if t.Failed() {
				t.Logf("%s%s", stdout, stderr)
			}
		})
	}
}

// TestEveryDumpIsAskedAbout: check, trace and explain answer or refuse, and JSON says what
// the text says.
func TestEveryDumpIsAskedAbout(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(dumpFile("*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no dumps (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			checked, _, _ := runCommand(t, "check", "--rules", file)
			explained, _, _ := runCommand(t, "explain", "--output", "tree", "--rules", file)
			traced, stdout, _ := runCommand(t, "trace", "--to", "10.0.0.5:80", "--output", "json", "--rules", file)
			if checked != 0 && checked != exitUnknown || checked == 0 && explained != 0 || (explained == 0) != (traced == 0) || traced != 0 && traced != exitUnknown {
				t.Fatalf("exit codes of check, explain and trace: %d, %d, %d", checked, explained, traced)
			}
			if traced != 0 {
				return
			}
			var answer struct {
				Certain bool     `json:"certain"`
				Caveats []string `json:"doubts"`
				Legs    []struct{ Outcome, Landing string }
			}
			if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
				t.Fatal(err)
			}
			if answer.Certain != (len(answer.Caveats) == 0) || len(answer.Legs) == 0 {
				t.Errorf("certain %t, caveats %q, %d connections", answer.Certain, answer.Caveats, len(answer.Legs))
			}
		})
	}
}

func TestADumpWithoutTheCapturedFamilyCannotBeCompared(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "dump")
	if err := os.WriteFile(file, []byte("# Generated by ip6tables-save v1.8.9\n*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n# Completed on Fri\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runCommand(t, "check", "--ip-family", "ipv4", "-b", "80", "--rules", file)
	if want := "nothing to compare: IPv4: not in this dump; iptables-save prints it"; code != exitUnknown || !strings.Contains(stderr, want) {
		t.Errorf("want exit code %d and %q, got %d and %s", exitUnknown, want, code, stderr)
	}
}
