package decision

import (
	"slices"
	"strings"
	"testing"

	"istio-init/cmd/istio-cni/netconf"
	"istio-init/cmd/istio-init/options"
)

// TestSuspectIsAPodThatLooksCaptured has the pods whose skipping is worth a warning.
func TestSuspectIsAPodThatLooksCaptured(t *testing.T) {
	t.Parallel()
	sidecar := `{"initContainers":null,"containers":["istio-proxy"]}`
	for want, annotations := range map[bool]map[string]string{
		true:  {statusKey: sidecar, modeKey: "REDIRECT"},
		false: {statusKey: sidecar, modeKey: "NONE"},
	} {
		if d := Decide(entry(annotations), nil, Pod{}); d.Verdict != Skip || d.Suspect != want {
			t.Errorf("%v: %s, suspect %v, want %v", annotations, d.Verdict, d.Suspect, want)
		}
	}
}

// TestAHintForNoOptionIsNamed: it does not fail the pod, and is logged as a warning.
func TestAHintForNoOptionIsNamed(t *testing.T) {
	t.Parallel()
	known := []string{HintPrefix + "proxy-uid", "7", HintPrefix + "istio-outbound-owner-groups", "8"}
	for _, c := range []struct {
		hints   []string
		suspect bool
	}{
		{known, false},
		{append(known, HintPrefix+"dns-capture", "true", HintPrefix+"proxy_uid", "7"), true},
	} {
		d := Decide(entry(with(c.hints...)), nil, Pod{})
		named := strings.HasSuffix(d.Reason, "; no effect: "+HintPrefix+"dns-capture, "+HintPrefix+"proxy_uid")
		if d.Verdict != Apply || d.Suspect != c.suspect || named != c.suspect {
			t.Errorf("%v: %s, suspect %t, %s", c.hints, d.Verdict, d.Suspect, d.Reason)
		}
	}
}

// TestFirstSourceCounts has the order of the sources of each kind of option.
func TestFirstSourceCounts(t *testing.T) {
	t.Parallel()
	overrides := func(fields string) string { return `{"containers":[{"name":"istio-proxy",` + fields + `}]}` }
	dns := func(value string) string { return `proxyMetadata: {ISTIO_META_DNS_CAPTURE: ` + value + `}` }
	inOverrides := overrides(`"env":[{"name":"ISTIO_META_DNS_CAPTURE","value":"true"}]`)
	const dnsHint, uidHint, gidHint = HintPrefix + optionDNS, HintPrefix + optionUID, HintPrefix + optionGID
	tests := []struct {
		name        string
		option      string
		annotations map[string]string
		defaults    string // of the entry
		text, from  string // without a source there is no value
	}{
		{"dns-nowhere", optionDNS, with(), "", "", ""},
		{"dns-defaults", optionDNS, with(), `"redirect_dns":true`, "true", "network configuration: defaults.redirect_dns"},
		{"dns-hint", optionDNS, with(dnsHint, "true"), `"redirect_dns":false`, "true", "annotation " + dnsHint},
		{"dns-empty-hint", optionDNS, with(dnsHint, ""), `"redirect-dns":true`, "true", "network configuration: defaults.redirect-dns"},
		{"dns-config", optionDNS, with(dnsHint, "true", configKey, dns(`"false"`)), "", "false", "annotation proxy.istio.io/config ISTIO_META_DNS_CAPTURE"},
		{"dns-empty-config", optionDNS, with(dnsHint, "true", configKey, dns(`""`)), "", "false", "annotation proxy.istio.io/config ISTIO_META_DNS_CAPTURE"},
		{"dns-config-snake", optionDNS, with(configKey, "proxy_metadata:\n  ISTIO_META_DNS_CAPTURE: \"1\""), "", "1", "annotation proxy.istio.io/config ISTIO_META_DNS_CAPTURE"},
		{"dns-config-json", optionDNS, with(configKey, `{"proxyMetadata":{"ISTIO_META_DNS_CAPTURE":"true"}}`), "", "true", "annotation proxy.istio.io/config ISTIO_META_DNS_CAPTURE"},
		{"dns-config-first-document", optionDNS, with(configKey, "concurrency: 2\n---\n"+dns(`"true"`)), "", "", ""},
		{"dns-config-twice", optionDNS, with(configKey, dns(`"true"`)+"\n"+dns(`"false"`)), "", "false", "annotation proxy.istio.io/config ISTIO_META_DNS_CAPTURE"},
		{"dns-config-anchor", optionDNS, with(configKey, "x: &on {ISTIO_META_DNS_CAPTURE: \"true\"}\nproxyMetadata: *on"), "", "true", "annotation proxy.istio.io/config ISTIO_META_DNS_CAPTURE"},
		{"dns-config-other-keys", optionDNS, with(configKey, "proxyMetadata: {OTHER: x}"), `"redirect_dns":true`, "true", "network configuration: defaults.redirect_dns"},
		{"dns-overrides", optionDNS, with(configKey, dns(`"false"`), overridesKey, inOverrides), "", "true", "annotation proxy.istio.io/overrides ISTIO_META_DNS_CAPTURE"},
		{"dns-overrides-value-from", optionDNS, with(overridesKey, overrides(`"env":[{"name":"ISTIO_META_DNS_CAPTURE","valueFrom":{}}]`)), `"redirect_dns":true`, "false", "annotation proxy.istio.io/overrides ISTIO_META_DNS_CAPTURE"},
		{"all-dns", optionAllDNS, with(), `"redirect_dns":true`, "true", "network configuration: defaults.redirect_dns"},
		{"all-dns-off", optionAllDNS, with(configKey, dns(`"false"`)), `"redirect_dns":true`, "", ""},
		{"uid-nowhere", optionUID, with(), "", "1337", "default"},
		{"uid-defaults", optionUID, with(), `"proxy_uid":2000`, "2000", "network configuration: defaults.proxy_uid"},
		{"uid-hint", optionUID, with(uidHint, "2001"), `"proxy_uid":2000`, "2001", "annotation " + uidHint},
		{"uid-overrides", optionUID, with(uidHint, "2001", overridesKey, overrides(`"securityContext":{"runAsUser":2002}`)), `"proxy_uid":2000`, "2002", "annotation proxy.istio.io/overrides runAsUser"},
		{"uid-overrides-root", optionUID, with(overridesKey, overrides(`"securityContext":{"runAsUser":0}`)), `"proxy_uid":2000`, "2000", "network configuration: defaults.proxy_uid"},
		{"uid-tproxy", optionUID, with(modeKey, "TPROXY", uidHint, "2001", overridesKey, overrides(`"securityContext":{"runAsUser":2002}`)), `"proxy_uid":2000`, "1337", "default"},
		{"gid-nowhere", optionGID, with(uidHint, "2001"), "", "1337", "default"},
		{"gid-hint", optionGID, with(gidHint, "2001"), `"proxy_gid":2000`, "2001", "annotation " + gidHint},
		{"gid-tproxy", optionGID, with(modeKey, "TPROXY", gidHint, "2001"), `"proxy_gid":2000`, "1337", "default"},
		{"gid-tproxy-overrides", optionGID, with(modeKey, "TPROXY", overridesKey, overrides(`"securityContext":{"runAsGroup":2001}`)), "", "2001", "annotation proxy.istio.io/overrides runAsGroup"},
		{"list-default", "istio-service-cidr", with(), `"istio_service_cidr":["10.0.0.0/8","fd00::/8"]`, "10.0.0.0/8,fd00::/8", "network configuration: defaults.istio_service_cidr"},
		{"list-annotation", "istio-service-cidr", with("traffic.sidecar.istio.io/includeOutboundIPRanges", ""), `"istio_service_cidr":"10.0.0.0/8"`, "", "annotation traffic.sidecar.istio.io/includeOutboundIPRanges"},
		{"first-of-two", "kube-virt-interfaces", with("istio.io/reroute-virtual-interfaces", "net1", "traffic.sidecar.istio.io/kubevirtInterfaces", "net9"), "", "net1", "annotation istio.io/reroute-virtual-interfaces"},
		{"second-of-two", "kube-virt-interfaces", with("traffic.sidecar.istio.io/kubevirtInterfaces", "net9"), "", "net9", "annotation traffic.sidecar.istio.io/kubevirtInterfaces"},
		{"port", "inbound-capture-port", with(), `"inbound_capture_port":16006`, "16006", "network configuration: defaults.inbound_capture_port"},
		{"groups", "ISTIO_OUTBOUND_OWNER_GROUPS", with(configKey, "proxyMetadata: {ISTIO_OUTBOUND_OWNER_GROUPS: \"2000\"}"), "", "2000", "annotation proxy.istio.io/config ISTIO_OUTBOUND_OWNER_GROUPS"},
		{"groups-empty", "ISTIO_OUTBOUND_OWNER_GROUPS", with(configKey, "proxyMetadata: {ISTIO_OUTBOUND_OWNER_GROUPS: \"\"}"), "", "", ""},
		{"native", options.NativeNFT, with(), `"native_nftables":false},"native_nftables":true,"x":{`, "true", "network configuration: native_nftables"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			conf, problems := netconf.Parse([]byte(`{"name":"n","defaults":{` + test.defaults + `}}`))
			conf.HasAnnotations, conf.Annotations = true, test.annotations
			d := Decide(conf, problems, Pod{})
			if d.Verdict != Apply {
				t.Fatalf("%s: %s", d.Verdict, d.Reason)
			}
			var got options.Value
			if i := slices.IndexFunc(d.Values, func(v options.Value) bool { return v.Option == test.option }); i >= 0 {
				got = d.Values[i]
			}
			if got.Text != test.text || got.From != test.from {
				t.Errorf("%q from %q, want %q from %q", got.Text, got.From, test.text, test.from)
			}
		})
	}
}
