package decision

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"istio-init/capture"
	"istio-init/cmd/istio-cni/netconf"
	"istio-init/cmd/istio-init/options"
	"istio-init/netutil/inet"
)

// injected are annotations of a pod that waits for a CNI plugin.
var injected = map[string]string{
	statusKey: `{"initContainers":["istio-validation"],"containers":["istio-proxy"],"volumes":null,"imagePullSecrets":null,"revision":"default"}`,
	modeKey:   "REDIRECT",
}

// with returns the annotations of an injected pod with others. Key and value alternate.
func with(more ...string) map[string]string {
	all := maps.Clone(injected)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// entry returns the configuration of annotations that have arrived.
func entry(annotations map[string]string) netconf.Conf {
	return netconf.Conf{HasAnnotations: true, Annotations: annotations, ExcludeNamespaces: []string{"kube-system"}}
}

// parseFlags returns what istio-init makes of flags and a variable.
func parseFlags(t testing.TB, args []string, name, value string, set bool) (*options.Parsed, []error) {
	t.Helper()
	line := pflag.NewFlagSet("apply", pflag.ContinueOnError)
	flags := options.Apply.Define(line)
	if err := line.Parse(args); err != nil {
		t.Fatal(err)
	}
	env := func(variable string) (string, bool) { return value, set && variable == name }
	return flags.Parse(t.Context(), env, strings.NewReader(""))
}

// meaning is all that options say about rules.
func meaning(p *options.Parsed) string {
	text := fmt.Sprintf("dns %v all %v dual %v families %v native %v\n", p.RedirectDNS, p.CaptureAllDNS, p.DualStack, p.Families, p.NativeNFT)
	c := p.Config
	if p.RedirectDNS {
		c.DNS.All = p.CaptureAllDNS
	}
	for _, f := range inet.Families {
		text += capture.Rules(c, f).String()
	}
	return text
}

// TestInjectedPodsAreDecidedAsByIstio has pods as Istio's injector leaves them.
func TestInjectedPodsAreDecidedAsByIstio(t *testing.T) {
	t.Parallel()
	type expected struct {
		Decision string
		Flags    []string
	}
	var document struct {
		Cases []struct {
			Name, Namespace string
			Annotations     map[string]string
			Expect          expected
			Variants        []struct {
				Defaults json.RawMessage
				Expect   expected
			}
		}
	}
	text, err := os.ReadFile("testdata/injected.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, c := range document.Cases {
		check := func(t *testing.T, defaults json.RawMessage, want expected) {
			annotations, err := json.Marshal(c.Annotations)
			if err != nil {
				t.Fatal(err)
			}
			conf, problems := netconf.Parse(fmt.Appendf(nil, `{"name":"istio-cni","defaults":%s,"runtimeConfig":{%q:%s}}`, defaults, netconf.Capability, annotations))
			d := Decide(conf, problems, Pod{c.Namespace, c.Name})
			if d.Verdict.String() != want.Decision {
				t.Fatalf("%s: %s, want %s", d.Verdict, d.Reason, want.Decision)
			}
			if d.Verdict != Apply {
				return
			}
			same, problems := parseFlags(t, want.Flags, "", "", false)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if diff := cmp.Diff(meaning(same), meaning(d.Options)); diff != "" {
				t.Errorf("the rules differ from those of %q (-want +got):\n%s", want.Flags, diff)
			}
			if diff := cmp.Diff(settings(want.Flags), texts(d.Values)); diff != "" {
				t.Errorf("the values differ (-want +got):\n%s", diff)
			}
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			check(t, json.RawMessage("{}"), c.Expect)
			for _, v := range c.Variants {
				check(t, v.Defaults, v.Expect)
			}
		})
	}
}

// letters are the flags of the options.
var letters = map[string]string{
	"-u": optionUID, "-g": optionGID, "-m": optionMode, "-i": "istio-service-cidr", "-x": "istio-service-exclude-cidr", "-b": "istio-inbound-ports",
	"-d": optionExcludedPorts, "-o": "istio-local-outbound-ports-exclude", "-q": "istio-outbound-ports", "-k": "kube-virt-interfaces", "-c": "istio-exclude-interfaces",
}

// settings returns the values of flags, without those that are always the default.
func settings(flags []string) map[string]string {
	values := map[string]string{}
	for i := 0; i < len(flags); i++ {
		if name, boolean := strings.CutPrefix(flags[i], "--"); boolean {
			values[name] = "true"
			continue
		}
		if option, ours := letters[flags[i]]; ours {
			values[option] = flags[i+1]
		}
		i++
	}
	return values
}

func texts(values []options.Value) map[string]string {
	all := map[string]string{}
	for _, v := range values {
		all[v.Option] = v.Text
	}
	return all
}

// status returns the annotations of a pod with containers of the injector, and more. Key and value
// alternate.
func status(initContainers, containers string, more ...string) map[string]string {
	all := map[string]string{statusKey: `{"initContainers":` + initContainers + `,"containers":` + containers + `}`}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// decisions are the rules of the decision, each with what is decided.
var decisions = []struct {
	name    string
	conf    netconf.Conf
	pod     Pod
	verdict Verdict
	reason  string // a part of it
}{
	{"no-annotations", entry(nil), Pod{}, Skip, "no annotation sidecar.istio.io/status"},
	{"excluded-namespace", entry(injected), Pod{"kube-system", "dns"}, Skip, "namespace kube-system is excluded"},
	{"excluded-namespace-without-capability", netconf.Conf{ExcludeNamespaces: []string{"kube-system"}}, Pod{"kube-system", "dns"}, Skip, "excluded"},
	{"excluded-namespace-beside-ambient", netconf.Conf{ExcludeNamespaces: []string{"kube-system"}, Ambient: true}, Pod{"kube-system", "dns"}, Skip, "excluded"},
	{"excluded-is-exact", entry(injected), Pod{"kube-system2", "web"}, Apply, ""},
	{"no-namespace-is-none-of-those", netconf.Conf{HasAnnotations: true, Annotations: injected, ExcludeNamespaces: []string{""}}, Pod{}, Apply, ""},
	{"agent", netconf.Conf{AgentNamespace: "istio-system"}, Pod{"istio-system", "istio-cni-node-x7"}, Skip, "agent"},
	{"agent-elsewhere", netconf.Conf{AgentNamespace: "istio-system"}, Pod{"demo", "istio-cni-node-x7"}, Fail, "passes no annotations"},
	{"no-capability", netconf.Conf{}, Pod{"demo", "web"}, Fail, "containerd does from 1.5.0 on, CRI-O from 1.29.0 on"},
	{"no-capability-skips", netconf.Conf{OnMissing: netconf.MissingSkips}, Pod{"demo", "web"}, Skip, "passes no annotations"},
	{"ambient", netconf.Conf{Ambient: true, HasAnnotations: true}, Pod{"demo", "web"}, Fail, "ambient_enabled"},
	{"istio-init", entry(status(`["istio-init"]`, `["istio-proxy"]`)), Pod{}, Skip, "istio-init makes the rules"},
	{"istio-init-beside-validation", entry(status(`["istio-init","istio-validation"]`, `["istio-proxy"]`)), Pod{}, Skip, "istio-init makes the rules"},
	{"gateway", entry(status(`null`, `["istio-proxy"]`)), Pod{}, Skip, "no istio-validation"},
	{"native-sidecar", entry(status(`["istio-validation","istio-proxy"]`, `null`)), Pod{}, Apply, ""},
	{"grpc-and-sidecar", entry(status(`["grpc-bootstrap-init","istio-validation"]`, `["app","istio-proxy"]`)), Pod{}, Apply, ""},
	{"mode-none", entry(with(modeKey, "NONE")), Pod{}, Skip, "interceptionMode is NONE"},
	{"mode-none-lower-case", entry(with(modeKey, " none")), Pod{}, Skip, "interceptionMode is NONE"},
	{"mode-none-uninjected", entry(status(`null`, `["istio-proxy"]`, modeKey, "NONE")), Pod{}, Skip, "no istio-validation"},
	{"mode-only-from-its-annotation", entry(with(configKey, "interceptionMode: NONE")), Pod{}, Apply, ""},
	{"inject-false", entry(with("sidecar.istio.io/inject", "false")), Pod{}, Apply, ""},
	{"templates-not-read", entry(with("inject.istio.io/templates", "gateway")), Pod{}, Apply, ""},
	{"disabled-by-config", entry(with(configKey, `proxyMetadata: {DISABLE_ENVOY: "true"}`)), Pod{}, Skip, "DISABLE_ENVOY"},
	{"disabled-by-overrides", entry(with(overridesKey, `{"containers":[{"name":"istio-proxy","env":[{"name":"DISABLE_ENVOY","value":"1"}]}]}`)), Pod{}, Skip, "DISABLE_ENVOY"},
	{"not-disabled", entry(with(configKey, `proxyMetadata: {DISABLE_ENVOY: "on"}`)), Pod{}, Apply, ""},
	{"router", entry(with(overridesKey, `{"initContainers":[{"name":"istio-proxy","args":["proxy","router"]}]}`)), Pod{}, Skip, `"router"`},
	{"sidecar-by-args", entry(with(overridesKey, `{"containers":[{"name":"istio-proxy","args":["proxy","sidecar"]}]}`)), Pod{}, Apply, ""},
	{"other-args", entry(with(overridesKey, `{"containers":[{"name":"istio-proxy","args":["run","router"]}]}`)), Pod{}, Apply, ""},
	{"args-of-another-container", entry(with(overridesKey, `{"containers":[{"name":"app","args":["proxy","router"]}]}`)), Pod{}, Apply, ""},
	{"status-true", entry(map[string]string{statusKey: "true"}), Pod{}, Fail, "annotation sidecar.istio.io/status \"true\": want the JSON object"},
	{"status-empty", entry(map[string]string{statusKey: ""}), Pod{}, Fail, "annotation sidecar.istio.io/status"},
	{"status-null", entry(map[string]string{statusKey: "null"}), Pod{}, Fail, "annotation sidecar.istio.io/status"},
	{"status-too-long", entry(map[string]string{statusKey: strings.Repeat(" ", 1<<17)}), Pod{}, Fail, "has 131072 bytes: want at most 65536"},
	{"config-no-yaml", entry(with(configKey, "a: [")), Pod{}, Fail, "annotation proxy.istio.io/config "},
	{"config-list", entry(with(configKey, "- a")), Pod{}, Fail, "annotation proxy.istio.io/config line 1: no mapping"},
	{"config-empty", entry(with(configKey, "")), Pod{}, Apply, ""},
	{"overrides-no-json", entry(with(overridesKey, "x")), Pod{}, Fail, "annotation proxy.istio.io/overrides"},
	{"uid-negative", entry(with(overridesKey, `{"containers":[{"name":"istio-proxy","securityContext":{"runAsUser":-1}}]}`)), Pod{}, Fail, "annotation proxy.istio.io/overrides runAsUser \"-1\""},
	{"ports-wrong", entry(with("traffic.sidecar.istio.io/excludeOutboundPorts", "5432; evil")), Pod{}, Fail, `annotation traffic.sidecar.istio.io/excludeOutboundPorts "5432; evil" contains ' '`},
	{"port-name", entry(with("traffic.sidecar.istio.io/includeOutboundPorts", "http")), Pod{}, Fail, `"http": want a comma-separated list of ports (1-65535) and ranges`},
	{"all-wrong-at-once", entry(with("traffic.sidecar.istio.io/excludeOutboundPorts", "x", "traffic.sidecar.istio.io/includeInboundPorts", "y")), Pod{}, Fail, "(and 1 more)"},
	{"too-many-entries", entry(with("traffic.sidecar.istio.io/excludeOutboundPorts", strings.Repeat("1,", 10_000))), Pod{}, Fail, "has 10001 entries: want at most 10000"},
	{"bool-wrong", entry(with(configKey, `proxyMetadata: {ISTIO_META_DNS_CAPTURE: "yes"}`)), Pod{}, Fail, `annotation proxy.istio.io/config ISTIO_META_DNS_CAPTURE "yes": want true or false`},
	{"hint-wrong", entry(with(HintPrefix+optionUID, "root")), Pod{}, Fail, `annotation hints.istio-init/proxy-uid "root": want a comma-separated list of ids`},
	{"openshift", entry(with("openshift.io/scc", "restricted-v2")), Pod{}, Fail, "want hints.istio-init/proxy-uid"},
	{"openshift-by-network", entry(with(networksKey, "macvlan-a, default/istio-cni")), Pod{}, Fail, "annotation " + networksKey},
	{"openshift-by-network-in-json", entry(with(networksKey, `[{"name":"istio-cni","namespace":"default"}]`)), Pod{}, Fail, "runAsUser of an own istio-proxy container"},
	{"another-network", entry(with(networksKey, "macvlan-istio-cni")), Pod{}, Apply, ""},
	{"openshift-tproxy", entry(with("openshift.io/scc", "x", modeKey, "TPROXY")), Pod{}, Apply, ""},
	{"openshift-hint", entry(with("openshift.io/scc", "x", HintPrefix+optionUID, "1000629999")), Pod{}, Apply, ""},
}

func TestDecision(t *testing.T) {
	t.Parallel()
	for _, test := range decisions {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := Decide(test.conf, nil, test.pod)
			if d.Verdict != test.verdict || !strings.Contains(d.Reason, test.reason) {
				t.Errorf("%s: %s\nwant %s: %s", d.Verdict, d.Reason, test.verdict, test.reason)
			}
			if (d.Verdict == Apply) != (d.Options != nil) || (d.Verdict == Fail) != (len(d.Errors) > 0) {
				t.Errorf("%s with options %v and errors %v", d.Verdict, d.Options, d.Errors)
			}
			if strings.ContainsAny(d.Reason, "\n\r") {
				t.Errorf("not on one line: %q", d.Reason)
			}
		})
	}
}

// TestAWrongEntryFailsOnlyPodsThatMayHaveToBeCaptured has an entry with a wrong timeout: a pod that
// is not known to be injected starts.
func TestAWrongEntryFailsOnlyPodsThatMayHaveToBeCaptured(t *testing.T) {
	t.Parallel()
	wrong := []error{errors.New("timeout 5: want a duration")}
	for _, test := range []struct {
		name    string
		conf    netconf.Conf
		pod     Pod
		verdict Verdict
		reason  string
	}{
		{"injected", entry(injected), Pod{"demo", "web"}, Fail, "timeout 5"},
		{"injected-in-an-excluded-namespace", entry(injected), Pod{"kube-system", "web"}, Skip, "excluded"},
		{"not-injected", entry(nil), Pod{"demo", "web"}, Skip, "no annotation"},
		{"istio-init", entry(status(`["istio-init"]`, `["istio-proxy"]`)), Pod{"demo", "web"}, Skip, "istio-init"},
		{"no-annotations-arrive", netconf.Conf{}, Pod{"demo", "web"}, Fail, "timeout 5"},
		{"no-annotations-arrive-skips", netconf.Conf{OnMissing: netconf.MissingSkips}, Pod{"demo", "web"}, Skip, "no annotations"},
		{"ambient", netconf.Conf{Ambient: true, HasAnnotations: true}, Pod{"demo", "web"}, Fail, "timeout 5: want a duration (and 1 more)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if d := Decide(test.conf, wrong, test.pod); d.Verdict != test.verdict || !strings.Contains(d.Reason, test.reason) {
				t.Errorf("%s: %s\nwant %s: %s", d.Verdict, d.Reason, test.verdict, test.reason)
			}
		})
	}
}
