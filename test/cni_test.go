package test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/size"
)

// The codes of the plugin's errors.
const (
	cniBadVersion  = 1
	cniBadEnv      = 4
	cniBadJSON     = 6
	cniBadConfig   = 7
	cniBadNetNS    = 8
	cniUnavailable = 50
	cniBadPod      = 100
	cniNoRules     = 101
	cniDrift       = 102
)

// TestCNIVersions has each version of the specification, with and without a result of the plugins
// before.
func TestCNIVersions(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	before := object{"cniVersion": "1.0.0", "interfaces": []object{{"name": "eth0"}}, "ips": []object{{"address": "10.0.0.9/24", "interface": 0}}}
	before03 := object{"cniVersion": "0.3.1", "ips": []object{{"version": "4", "address": "10.0.0.9/24"}}}
	for version, result := range map[string]object{
		"0.1.0": nil, "0.2.0": nil, "0.3.0": before03, "0.3.1": before03, "0.4.0": before03, "1.0.0": before, "1.1.0": before, "1.2.0": nil, "": nil, "x": nil,
	} {
		for _, chained := range []bool{false, true} {
			more := cniBackend(native, nil)
			more["cniVersion"] = version
			if chained && result != nil {
				result["cniVersion"] = version
				more["prevResult"] = result
			}
			call := cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(waits(), more)}
			a := call.answer(t)
			switch {
			case result == nil && (a.exit != 1 || a.code != cniBadVersion && a.code != cniBadJSON):
				t.Errorf("version %q: want it refused: %s", version, a)
			case result == nil:
			case a.exit != 0 || a.result["cniVersion"] != version:
				t.Errorf("version %s: want a result of it: %s", version, a)
			case chained && !strings.Contains(a.out, "10.0.0.9/24"):
				t.Errorf("version %s: want the address of the plugins before: %s", version, a)
			}
			call.command = cniDel
			if a := call.succeeds(t); a.out != "" {
				t.Errorf("DEL, version %q: %s", version, a)
			}
		}
	}
}

// TestCNIRefusesBadCalls has calls that are wrong themselves: nothing is touched, and DEL succeeds.
func TestCNIRefusesBadCalls(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	before := s.see().String()
	good := cniEntry(waits(), nil)
	for name, test := range map[string]struct {
		call cniCall
		code int
		text string
	}{
		"own-netns":      {cniCall{netns: "/proc/self/ns/net", entry: good}, cniBadNetNS, "it is the network namespace of the machine"},
		"init-netns":     {cniCall{netns: "/proc/1/ns/net", entry: good}, cniBadNetNS, "network namespace /proc/1/ns/net"},
		"missing-netns":  {cniCall{netns: "/run/netns/there-is-none", entry: good}, cniBadNetNS, "no such file"},
		"empty-netns":    {cniCall{entry: good}, cniBadEnv, "CNI_NETNS"},
		"no-netns":       {cniCall{netns: "/etc/hostname", entry: good}, cniBadNetNS, "not the file of a network namespace"},
		"directory":      {cniCall{netns: "/etc", entry: good}, cniBadNetNS, "not the file of a network namespace"},
		"fifo":           {cniCall{netns: fifo(t), entry: good}, cniBadNetNS, "not the file of a network namespace"},
		"other-ns":       {cniCall{netns: "/proc/self/ns/uts", entry: good}, cniBadNetNS, "not the file of a network namespace"},
		"bad-name":       {cniCall{netns: s.Path(), entry: cniEntry(waits(), object{"name": "../x"})}, cniBadConfig, "name"},
		"no-name":        {cniCall{netns: s.Path(), entry: cniEntry(waits(), object{"name": ""})}, cniBadConfig, "name"},
		"empty-stdin":    {cniCall{netns: s.Path()}, cniBadJSON, ""},
		"no-json":        {cniCall{netns: s.Path(), entry: "{"}, cniBadJSON, ""},
		"bad-result":     {cniCall{netns: s.Path(), entry: cniEntry(waits(), object{"prevResult": object{"ips": "x"}})}, cniBadJSON, "prevResult"},
		"bad-timeout":    {cniCall{netns: s.Path(), entry: cniEntry(waits(), object{"timeout": "5"})}, cniBadPod, `timeout "5": want a duration`},
		"missing":        {cniCall{netns: s.Path(), entry: cniEntry(waits(), object{"runtimeConfig": object{}})}, cniBadPod, "containerd does from 1.5.0 on"},
		"ambient":        {cniCall{netns: s.Path(), entry: cniEntry(nil, object{"ambient_enabled": true})}, cniBadPod, "ambient_enabled"},
		"unreadable":     {cniCall{netns: s.Path(), entry: cniEntry(nil, object{"on_missing_annotations": "skip", "runtimeConfig": object{annotationsKey: []string{}}})}, cniBadPod, "want an object of strings"},
		"no-time":        {cniCall{netns: s.Path(), entry: cniEntry(waits(), object{"timeout": "1ns"})}, cniNoRules, "not done within the timeout of 1ns"},
		"unknown-option": {cniCall{netns: s.Path(), entry: cniEntry(waits(), object{"defaults": object{"dry-run": true}})}, cniBadPod, `"defaults.dry-run": not an option that describes rules`},
	} {
		t.Run(name, func(t *testing.T) {
			test.call.command = cniAdd
			test.call.fails(t, test.code, test.text)
			test.call.command = cniDel
			if a := test.call.succeeds(t); a.out != "" {
				t.Errorf("DEL: %s", a)
			}
		})
	}
	if diff := cmp.Diff(before, s.see().String()); diff != "" {
		t.Errorf("something was changed (-before +after):\n%s", diff)
	}
}

// fifo returns the path of a pipe that nobody writes: who opens it waits.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCNIEndsWhileItsInputIsOpen has a runtime that does not close the input, and then ends the plugin.
func TestCNIEndsWhileItsInputIsOpen(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{cniAdd, cniCheck, cniDel} {
		cmd := cniCall{command: verb, netns: "/run/netns/there-is-none", entry: cniEntry(waits(), nil)}.cmd(t)
		cmd.Stdin = nil
		input, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		tooLong := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_, _ = cmd.Process.Wait()
		if !tooLong.Stop() {
			t.Errorf("%s: SIGTERM did not end it", verb)
		}
		input.Close()
	}
}

// attacks are values that would do something as part of a rule, a script or a file name.
var attacks = []string{
	"5432; evil", "5432\n-A OUTPUT -j ACCEPT", "$(reboot)", "`id`", "80 -j ACCEPT", "-j", "--help", "../../etc/passwd", "80\x00", "\x1b[31m80", "80'\"", "*/", "{}",
	"eth0 } ; flush ruleset", strings.Repeat("9", 70_000), strings.Repeat("1,", 10_000),
}

// TestCNIRefusesAttacks has each in each annotation whose values reach rules.
func TestCNIRefusesAttacks(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	before := s.see().String()
	for i, key := range []string{
		"traffic.sidecar.istio.io/excludeOutboundPorts", "traffic.sidecar.istio.io/includeOutboundIPRanges", "istio.io/reroute-virtual-interfaces",
		"sidecar.istio.io/interceptionMode", "hints.istio-init/proxy-uid", "proxy.istio.io/overrides",
		"traffic.sidecar.istio.io/includeInboundPorts", "traffic.sidecar.istio.io/excludeInterfaces", "hints.istio-init/redirect-dns",
	} {
		for j, attack := range attacks {
			isName := strings.Contains(key, "nterfaces") && len(attack) < 16 && !strings.ContainsAny(attack, " '\"`/\n\x00\x1b") && attack[0] != '-' // as the kernel sees it
			if isName || !size.Stress() && (i+j)%3 > 0 || key == "proxy.istio.io/overrides" && attack == "{}" {
				continue
			}
			a := cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(waits(key, attack), cniBackend(native, nil))}.fails(t, cniBadPod, "annotation "+key)
			if strings.ContainsFunc(a.msg+a.log, func(c rune) bool { return c < ' ' && c != '\n' }) || len(a.msg) > 1000 {
				t.Errorf("%s: not for a terminal: %q %q", key, a.msg, a.log)
			}
		}
	}
	if diff := cmp.Diff(before, s.see().String()); diff != "" {
		t.Errorf("something was changed (-before +after):\n%s", diff)
	}
}

// TestCNIErrorsAreReportedTogether has two wrong annotations.
func TestCNIErrorsAreReportedTogether(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	entry := cniEntry(waits("traffic.sidecar.istio.io/excludeOutboundPorts", "5432;evil", "traffic.sidecar.istio.io/includeInboundPorts", "x"), nil)
	a := cniCall{command: cniAdd, netns: s.Path(), entry: entry}.fails(t, cniBadPod, "(and 1 more)")
	want := []string{
		`annotation traffic.sidecar.istio.io/includeInboundPorts "x": want a comma-separated list of ports (1-65535) and ranges (80-90), or * alone for all`,
		`annotation traffic.sidecar.istio.io/excludeOutboundPorts "5432;evil": want a comma-separated list of ports (1-65535) and ranges (80-90)`,
	}
	if diff := cmp.Diff(want, strings.Split(a.detail, "\n")); diff != "" {
		t.Errorf("the details (-want +got):\n%s", diff)
	}
}

// TestCNISkipsPodsThatDoNotWait has pods whose rules are nobody's, or another's.
func TestCNISkipsPodsThatDoNotWait(t *testing.T) {
	t.Parallel()
	s := newCNIPod(t, native)
	before := s.see().String()
	for name, call := range map[string]cniCall{
		"excluded":            {entry: cniEntry(waits(), nil), namespace: "kube-system"},
		"excluded-and-broken": {entry: cniEntry(waits("traffic.sidecar.istio.io/excludeOutboundPorts", "x"), object{"timeout": "x", "runtimeConfig": object{}, "ambient_enabled": true}), namespace: "kube-system"},
		"excluded-no-netns":   {entry: cniEntry(waits(), nil), namespace: "kube-system", netns: "/run/netns/there-is-none"},
		"not-injected-broken": {entry: cniEntry(map[string]string{"a": "b"}, object{"timeout": "x", "exclude_namespaces": "x", "defaults": object{"dry-run": true}})},
		"no-status":           {entry: cniEntry(map[string]string{"a": "b"}, nil)},
		"no-annotations":      {entry: cniEntry(nil, nil)},
		"none":                {entry: cniEntry(waits("sidecar.istio.io/interceptionMode", "NONE"), nil)},
		"missing-skipped":     {entry: cniEntry(nil, object{"runtimeConfig": nil, "on_missing_annotations": "skip"})},
	} {
		t.Run(name, func(t *testing.T) {
			if call.netns == "" {
				call.netns = s.Path()
			}
			for _, call.command = range []string{cniAdd, cniCheck, cniDel} {
				call.succeeds(t)
			}
		})
	}
	if diff := cmp.Diff(before, s.see().String()); diff != "" {
		t.Errorf("something was changed (-before +after):\n%s", diff)
	}
}
