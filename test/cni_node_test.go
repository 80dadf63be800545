package test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// TestCNIStatus has entries with which pods could start, and others.
func TestCNIStatus(t *testing.T) {
	t.Parallel()
	needKernel(t)
	status := func(more object) cniCall {
		more["cniVersion"], more["runtimeConfig"] = "1.1.0", nil // libcni passes none to STATUS
		return cniCall{command: "STATUS", entry: cniEntry(nil, more)}
	}
	capable := object{annotationsKey: true}
	status(object{"capabilities": capable}).succeeds(t)
	status(object{"on_missing_annotations": "skip"}).succeeds(t)
	status(object{"capabilities": capable, "native_nftables": true}).succeeds(t)
	status(object{}).fails(t, cniUnavailable, `"capabilities": {"io.kubernetes.cri.pod-annotations": true}`)
	status(object{"capabilities": capable, "ambient_enabled": true}).fails(t, cniUnavailable, "ambient_enabled")
	status(object{"capabilities": capable, "timeout": 5}).fails(t, cniUnavailable, "timeout 5")
	status(object{"capabilities": capable, "defaults": object{"proxy_uid": "root"}}).fails(t, cniUnavailable, `defaults.proxy_uid "root": want`)
	gc := status(object{})
	gc.command = "GC"
	gc.succeeds(t)
}

// TestCNIReadsNoEnvironmentButItsOwn has variables that istio-init reads.
func TestCNIReadsNoEnvironmentButItsOwn(t *testing.T) {
	t.Parallel()
	s, other := newCNIPod(t, xtables.NFT), newCNIPod(t, xtables.NFT)
	call := cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(waits(), nil)}
	call.succeeds(t)
	call.netns = other.Path()
	call.env = []string{
		"PATH=" + t.TempDir(), "ISTIO_INBOUND_PORTS=80", "ISTIO_META_DNS_CAPTURE=true", "NATIVE_NFTABLES=true", "ISTIO_INIT_CONFIG=/dev/full", "DRY_RUN=true",
		"XTABLES_LIBDIR=/nowhere", "PROXY_UID=0", "FORCE_IPTABLES_BINARY=legacy", "NETWORK_NAMESPACE=/proc/1/ns/net",
	}
	call.succeeds(t)
	if diff := cmp.Diff(s.see().String(), other.see().String()); diff != "" {
		t.Errorf("the environment changes the rules (-without +with):\n%s", diff)
	}
}

// TestCNIServesPodsWithManyInterfaces has a pod with an interface of a driver, as SR-IOV gives, and
// several links: more than istio-init takes for a pod. The runtime says that it is one.
func TestCNIServesPodsWithManyInterfaces(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	s.sh(realInterface + veths(2))
	cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(waits(), cniBackend(native, nil))}.succeeds(t)
	if rules := s.sh("nft list ruleset"); !strings.Contains(rules, "ISTIO_OUTPUT") {
		t.Errorf("no rules were made:\n%s", rules)
	}
}

// TestCNILogsOneLineForAPod wants the decision, and no values that are not options.
func TestCNILogsOneLineForAPod(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	entry := cniEntry(waits("password", "hunter2", "proxy.istio.io/config", `proxyMetadata: {ISTIO_DUAL_STACK: "true", TOKEN: "hunter2"}`), cniBackend(native, nil))
	a := cniCall{command: cniAdd, netns: s.Path(), entry: entry}.succeeds(t)
	var line struct {
		Level, Msg, Namespace, Pod, Sandbox, Decision, Reason, Backend string
		Options                                                        map[string]string
		MS                                                             *int
	}
	if err := json.Unmarshal([]byte(a.log), &line); err != nil {
		t.Fatalf("not one line of JSON: %v\n%s", err, a.log)
	}
	got := []string{line.Level, line.Msg, line.Namespace, line.Pod, line.Sandbox, line.Decision, line.Backend, line.Options["dual-stack"], line.Options["redirect-dns"]}
	want := []string{"info", "ADD", "demo", "web-1", "sandbox1", "apply", "nftables", "true (annotation proxy.istio.io/config ISTIO_DUAL_STACK)", "false (default)"}
	if !slices.Equal(got, want) || line.Reason == "" || line.MS == nil {
		t.Errorf("%q\nwant %q\n%s", got, want, a.log)
	}
	if strings.Contains(a.log, "hunter2") {
		t.Errorf("a secret is in the log: %s", a.log)
	}
}

// TestCNIWithoutProgramsUsesNativeNFTables hides the directories of programs.
func TestCNIWithoutProgramsUsesNativeNFTables(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	cmd := cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(waits(), nil)}.cmd(t)
	hidden := inMountNS(cmd, "for dir in /usr/sbin /usr/local/sbin /usr/local/bin; do mount -t tmpfs none $dir; done")
	if a := readAnswer(t, hidden); a.exit != 0 || !strings.Contains(a.log, `"backend":"nftables"`) {
		t.Errorf("want rules in nftables: %s", a)
	}
	if rules := s.saved(native, inet.IPv4); !strings.Contains(rules, "ISTIO_OUTPUT") {
		t.Errorf("no rules: %s", rules)
	}
}
