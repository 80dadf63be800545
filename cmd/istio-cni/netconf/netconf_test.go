package netconf

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"istio-init/cmd/istio-init/options"
)

// TestIstiosEntryWorksUnchanged has an entry as Istio's installer writes it.
func TestIstiosEntryWorksUnchanged(t *testing.T) {
	t.Parallel()
	got, problems := Parse([]byte(`{
		"cniVersion": "0.3.1", "name": "istio-cni", "type": "istio-cni", "plugin_log_level": "debug",
		"cni_agent_run_dir": "/var/run/istio-cni", "ambient_enabled": false, "enablement_selectors": [{"podSelector": {}}],
		"enable_ambient_detection_retry": false, "native_nftables": true, "exclude_namespaces": ["kube-system"], "pod_namespace": "istio-system",
		"prevResult": {"ips": []}, "unknown": [1, {"a": null}]}`))
	want := Conf{
		Version: "0.3.1", Name: "istio-cni", LogLevel: "debug", ExcludeNamespaces: []string{"kube-system"}, AgentNamespace: "istio-system",
		Timeout:  DefaultTimeout,
		Defaults: []options.Value{{Option: "native-nftables", Text: "true", From: "network configuration: native_nftables"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
		t.Errorf("problems %v (-want +got):\n%s", problems, diff)
	}
}

func TestOlderEntryOfIstioWorks(t *testing.T) {
	t.Parallel()
	got, problems := Parse([]byte(`{"name": "x", "log_level": "info", "log_uds_address": "/run/log.sock",
		"kubernetes": {"kubeconfig": "/etc/cni/net.d/ZZZ", "cni_bin_dir": "/opt/cni/bin", "exclude_namespaces": ["istio-system"]}}`))
	want := Conf{Name: "x", LogLevel: "info", ExcludeNamespaces: []string{"istio-system"}, Timeout: DefaultTimeout}
	if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
		t.Errorf("problems %v (-want +got):\n%s", problems, diff)
	}
}

func TestOurKeys(t *testing.T) {
	t.Parallel()
	got, problems := Parse([]byte(`{"name": "x", "capabilities": {"io.kubernetes.cri.pod-annotations": true}, "on_missing_annotations": "skip", "timeout": "3s",
		"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": "b"}},
		"defaults": {"proxy_uid": 2000, "istio-service-cidr": ["10.0.0.0/8", "fd00::/8"], "DUAL_STACK": true, "native-nftables": "true", "istio_outbound_owner_groups": [1, 2]}}`))
	value := func(option, text, key string) options.Value {
		return options.Value{Option: option, Text: text, From: "network configuration: defaults." + key}
	}
	want := Conf{
		Name: "x", Capable: true, HasAnnotations: true, Annotations: map[string]string{"a": "b"}, OnMissing: MissingSkips, Timeout: 3 * time.Second,
		Defaults: []options.Value{
			value("dual-stack", "true", "DUAL_STACK"),
			value("istio-service-cidr", "10.0.0.0/8,fd00::/8", "istio-service-cidr"),
			value("ISTIO_OUTBOUND_OWNER_GROUPS", "1,2", "istio_outbound_owner_groups"),
			value("native-nftables", "true", "native-nftables"),
			value("proxy-uid", "2000", "proxy_uid"),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(problems) > 0 {
		t.Errorf("problems %v (-want +got):\n%s", problems, diff)
	}
}

// TestAnnotationsArriveOrNot has a pod without annotations and a runtime that passes none.
func TestAnnotationsArriveOrNot(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{}`:                                    false,
		`{"runtimeConfig":null}`:                false,
		`{"runtimeConfig":{}}`:                  false,
		`{"runtimeConfig":{"portMappings":[]}}`: false,
		`{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":null}}`:     true,
		`{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{}}}`:       true,
		`{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":""}}}`: true,
	} {
		if conf, problems := Parse([]byte(text)); conf.HasAnnotations != want || len(problems) > 0 {
			t.Errorf("%s: arrived %v, problems %v, want %v", text, conf.HasAnnotations, problems, want)
		}
	}
}

// TestUnreadableAnnotationsAreNotSkipped has annotations that may be those of an injected pod.
func TestUnreadableAnnotationsAreNotSkipped(t *testing.T) {
	t.Parallel()
	for _, annotations := range []string{`[]`, `"x"`, `{"sidecar.istio.io/status":1}`} {
		conf, problems := Parse([]byte(`{"on_missing_annotations":"skip","runtimeConfig":{"io.kubernetes.cri.pod-annotations":` + annotations + `}}`))
		if conf.HasAnnotations || conf.OnMissing != MissingFails || len(problems) != 1 {
			t.Errorf("%s: arrived %v, skipped %v, problems %v", annotations, conf.HasAnnotations, conf.OnMissing == MissingSkips, problems)
		}
	}
}

func TestWrongValuesAreNamed(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, entry, want string }{
		{"no-json", `{`, "network configuration: unexpected end of JSON input"},
		{"list", `[]`, "network configuration: "},
		{"timeout-zero", `{"timeout":"0s"}`, `network configuration: timeout "0s": want a duration above zero such as 10s`},
		{"timeout-number", `{"timeout":5}`, `network configuration: timeout 5: want a string`},
		{"missing", `{"on_missing_annotations":"api"}`, `network configuration: on_missing_annotations "api": want fail or skip`},
		{"bool", `{"ambient_enabled":"true"}`, `network configuration: ambient_enabled "true": want true or false`},
		{"namespaces", `{"exclude_namespaces":"kube-system"}`, `network configuration: exclude_namespaces "kube-system": want a list of strings`},
		{"annotations", `{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":1}}}`, `network configuration: runtimeConfig.io.kubernetes.cri.pod-annotations {"a":1}: want an object of strings`},
		{"no-rule", `{"defaults":{"network_namespace":"/proc/1/ns/net"}}`, `network configuration: "defaults.network_namespace": not an option that describes rules: want envoy-port, `},
		{"iptables", `{"defaults":{"force-iptables-binary":"nft"}}`, `"defaults.force-iptables-binary": not an option`},
		{"twice", `{"defaults":{"proxy-uid":1,"proxy_uid":1}}`, `network configuration: defaults.proxy_uid is the same option as defaults.proxy-uid: want one of them`},
		{"object", `{"defaults":{"proxy-uid":{"a":1}}}`, `network configuration: defaults.proxy-uid {"a":1}: want a string, a number`},
		{"null", `{"defaults":{"proxy-uid":null}}`, `network configuration: defaults.proxy-uid null: want`},
		{"all-at-once", `{"timeout":"x","on_missing_annotations":"y"}`, `timeout "x"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, problems := Parse([]byte(test.entry))
			var lines []string
			for _, p := range problems {
				lines = append(lines, p.Error())
			}
			if text := strings.Join(lines, "\n"); !strings.Contains(text, test.want) {
				t.Errorf("%s\nwant %s", text, test.want)
			}
			if test.name == "all-at-once" && len(problems) != 2 {
				t.Errorf("%d problems, want 2: %v", len(problems), problems)
			}
		})
	}
}
