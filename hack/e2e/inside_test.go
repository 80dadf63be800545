package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/executable"
	"istio-init/test/kernel"
)

// insideScript runs the program inside the image, and records every opened file. If the
// test has its own mount namespace, the name servers are those of the test.
const insideScript = `#!/bin/sh
if [ "$(readlink /proc/self/ns/mnt)" != '%[1]s' ]; then mount --bind /etc/resolv.conf '%[2]s/etc/resolv.conf'; fi
exec strace --follow-forks --seccomp-bpf -qq --trace=execve,open,openat --output="$(mktemp '%[3]s/XXXXXXXX')" \
	chroot '%[2]s' %[4]s "$@"
`

// TestImageHasExactlyTheOpenedFiles runs all scenarios, also with foreign rules and with
// takeover from Istio, with both variants and both families.
func TestImageHasExactlyTheOpenedFiles(t *testing.T) {
	root := unpackedImage(t)
	traces := t.TempDir()
	program := root.traced(t, traces)
	runTests(t, program, "TestScenarioFlowsOnTheKernel", "TestForeignRulesStayByteForByte",
		"TestApplyTakesOverIstioRules", "TestCleanRemovesIstioRules")
	runBesideOthers(t, program)

	opened := root.opened(t, traces)
	for _, file := range root.files {
		if !opened[file] && !slices.Contains(unopened, file) && !forScanners.MatchString(file) {
			t.Errorf("nothing has opened %s", file)
		}
	}
}

// forScanners matches the files that tell scanners which packages the image has.
var forScanners = regexp.MustCompile(`^/var/lib/dpkg/status\.d/|^/usr/share/doc/`)

// unopened are links that no test opens: the names of Istio's tools, and programs for other
// iptables releases.
var unopened = []string{
	"/usr/local/bin/istio-iptables", "/usr/local/bin/istio-clean-iptables", "/usr/local/bin/pilot-agent",
	"/usr/sbin/iptables-nft", "/usr/sbin/ip6tables-nft", "/usr/sbin/iptables-legacy", "/usr/sbin/ip6tables-legacy",
}

// others are foreign rules whose extensions the other tests do not use.
var others = []string{
	`*filter
-A INPUT -p tcp -m limit --limit 5/sec -j LOG
-A INPUT -m iprange --src-range ADDR1-ADDR2 -j NFLOG --nflog-group 1
-A INPUT -p tcp -m hashlimit --hashlimit-upto 5/sec --hashlimit-name e2e -j NFQUEUE --queue-num 1
-A INPUT -p tcp -j REJECT
-A INPUT -p ICMP_TYPE 1 -j DROP
COMMIT
*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
`,
	"*nat\n-A POSTROUTING -p tcp -j SNAT --to-source ADDR1\nCOMMIT\n",
	"*nat\n-A OUTPUT -p tcp -j DNAT --to-destination ADDR1\nCOMMIT\n",
	"*nat\n-A POSTROUTING -p tcp -j MASQUERADE\nCOMMIT\n",
}

// runBesideOthers runs the program in a namespace with these foreign rules.
func runBesideOthers(t *testing.T, program string) {
	t.Helper()
	forFamily := [...]*strings.Replacer{
		strings.NewReplacer("ADDR1", "10.0.0.1", "ADDR2", "10.0.0.9", "ICMP_TYPE", "icmp -m icmp --icmp-type"),
		strings.NewReplacer("ADDR1", "fd00::1", "ADDR2", "fd00::9", "ICMP_TYPE", "ipv6-icmp -m icmp6 --icmpv6-type"),
	}
	for _, v := range xtables.Variants {
		for _, rules := range others {
			ns := kernel.NewNetNS(t)
			for _, f := range inet.Families {
				ns.Run(t, forFamily[f].Replace(rules), strings.Replace(xtables.SaveTool(f), "-save", "-"+v.String()+"-restore", 1))
			}
			ns.Run(t, "", program, "apply", "-u", "1337", "-i", "*", "-b", "*", "--ip-family", "dual", "--force-iptables-binary", v.String())
			ns.Run(t, "", program, "clean")
		}
	}
}

// traced returns a program that runs the one in the image with strace.
func (r root) traced(t *testing.T, traces string) string {
	t.Helper()
	mounts, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "istio-init")
	if err := executable.Write(path, fmt.Appendf(nil, insideScript, mounts, r.dir, traces, program)); err != nil {
		t.Fatal(err)
	}
	return path
}

// runTests runs tests of package test with that program.
func runTests(t *testing.T, program string, names ...string) {
	t.Helper()
	tests := "^(" + strings.Join(names, "|") + ")$"
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-short", "-timeout", "10m", "-run", tests, "./test")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "TEST_PROGRAM="+program, "KERNEL_TESTS=require")
	if err := run(cmd); err != nil {
		t.Fatal(err)
	}
}

var openCall = regexp.MustCompile(`(?:execve|open|openat)\((?:AT_FDCWD, )?"(/[^"]+)"`)

// opened returns the files of the image that the program and its children have opened.
func (r root) opened(t *testing.T, traces string) map[string]bool {
	t.Helper()
	opened := map[string]bool{}
	runs, err := filepath.Glob(filepath.Join(traces, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range runs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// chroot(1) opens files of this machine first.
		const start = `execve("` + program
		_, own, _ := strings.Cut(string(text), start)
		for _, call := range openCall.FindAllStringSubmatch(start+own, -1) {
			if !opened[call[1]] {
				opened[call[1]] = true
				for _, file := range r.behind(t, call[1]) {
					opened[file] = true
				}
			}
		}
	}
	t.Logf("%d runs of the program", len(runs))
	return opened
}
