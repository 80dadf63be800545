package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/test/kernel"
	"istio-init/test/pod"
	"istio-init/test/scenario"
	"istio-init/test/size"
)

func TestScenarioFlowsOnNativeNFTables(t *testing.T) {
	needKernel(t)
	kernel.Need(t, "nft")
	for i, s := range scenario.All(t, testdata) {
		t.Run(s.Name(), func(t *testing.T) {
			t.Parallel()
			stage{s, s.Config(t)}.onNative(t, size.Stress() || i%4 == 0)
		})
	}
}

// onNative is onKernel for rules in tables of nf_tables of their own. It makes the
// connections where it is told to.
func (s stage) onNative(t *testing.T, connects bool) {
	t.Helper()
	pod := pod.New(t, s.config)
	output := func(args ...string) (stdout, stderr string) {
		t.Helper()
		env := append(strings.Split(strings.TrimSpace(s.Section("env")), "\n"), "NATIVE_NFTABLES=true")
		stdout, stderr, err := pod.RunWith(t, env, s.Section("resolv.conf"), built, args...)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", programName, strings.Join(args, " "), err, stderr)
		}
		return stdout, stderr
	}
	run := func(args ...string) string { _, stderr := output(args...); return stderr }
	before := nftRuleset(t, pod)
	if len(s.Earlier) > 0 {
		run(append([]string{applyCommand}, s.Earlier...)...)
	}
	preview, _ := output(append([]string{applyCommand, "--dry-run"}, s.Args...)...)
	run(append([]string{applyCommand}, s.Args...)...)
	if diff := cmp.Diff(withoutComments(preview), nftRuleset(t, pod)); diff != "" {
		t.Errorf("the kernel has other rules than the preview (-want +got):\n%s", diff)
	}
	s.validates(t, run)
	if connects && !testing.Short() {
		s.connect(t, pod, xtables.NFT)
	}
	applied := nftRuleset(t, pod, "-a") // with the numbers of rules, which are new when one is added again
	run(append([]string{applyCommand}, s.Args...)...)
	if diff := cmp.Diff(applied, nftRuleset(t, pod, "-a")); diff != "" {
		t.Errorf("a second run changed rules (-want +got):\n%s", diff)
	}
	if connects {
		s.loadsByNFT(t, pod, preview, run)
	}
	run(cleanCommand)
	if diff := cmp.Diff(before, nftRuleset(t, pod)); diff != "" {
		t.Errorf("cleaning left something (-want +got):\n%s", diff)
	}
}

// loadsByNFT has nft make the tables from their text. They are the wanted ones then.
func (s stage) loadsByNFT(t *testing.T, pod *pod.Pod, preview string, run func(...string) string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "preview")
	if err := os.WriteFile(script, []byte("flush ruleset\n"+preview), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, err := pod.Run(t.Context(), "nft", "-f", script); err != nil {
		t.Fatalf("nft -f: %v: %s\n%s", err, stderr, preview)
	}
	loaded := nftRuleset(t, pod, "-a")
	log := run(append([]string{applyCommand}, s.Args...)...)
	if diff := cmp.Diff(loaded, nftRuleset(t, pod, "-a")); diff != "" {
		t.Errorf("rules that nft has loaded were changed (-before +after):\n%s\n%s", diff, log)
	}
}

// nftRuleset returns what nft lists.
func nftRuleset(t *testing.T, pod *pod.Pod, options ...string) string {
	t.Helper()
	stdout, stderr, err := pod.Run(t.Context(), "nft", append(options, "list", "ruleset")...)
	if err != nil {
		t.Fatalf("nft list ruleset: %v: %s", err, stderr)
	}
	return stdout
}

// withoutComments drops the lines that begin with #.
func withoutComments(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
