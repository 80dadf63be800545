package decision

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"istio-init/capture"
	"istio-init/cmd/istio-cni/netconf"
	"istio-init/netutil/inet"
)

// FuzzAnnotations has any values. What is accepted is valid rules of plain text, and what is
// refused is said on one line each.
func FuzzAnnotations(f *testing.F) {
	f.Add(injected[statusKey], "REDIRECT", "traffic.sidecar.istio.io/excludeOutboundPorts", "5432; evil", "proxyMetadata: {ISTIO_DUAL_STACK: \"true\"}", `{"containers":[{"name":"istio-proxy"}]}`)
	f.Add(injected[statusKey], "TPROXY", HintPrefix+optionUID, "1,2-3", "a: &b {proxy_metadata: *b}", `{"initContainers":[{"name":"istio-proxy","securityContext":{"runAsUser":1e3}}]}`)
	f.Add(injected[statusKey], "\x00", "istio.io/reroute-virtual-interfaces", "eth+\u2028", "<<: {a: b}", "null")
	f.Add("[]", "NONE", networksKey, "default/istio-cni", "? [a]\n: b", "{}")
	f.Fuzz(func(t *testing.T, status, mode, key, value, config, overrides string) {
		d := Decide(entry(map[string]string{statusKey: status, modeKey: mode, configKey: config, overridesKey: overrides, key: value}), nil, Pod{"demo", "web"})
		checkDecision(t, d)
	})
}

// checkDecision wants errors that a user can do something with, or rules and nothing else.
func checkDecision(t *testing.T, d Decision) {
	t.Helper()
	for _, line := range append([]string{d.Reason}, texted(d.Errors)...) {
		if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c == 0x7f }) || len(line) > 4096 {
			t.Errorf("not a line of a message: %.300q", line)
		}
	}
	if d.Verdict != Apply {
		return
	}
	c := d.Options.Config
	c.DNS.All = d.Options.RedirectDNS
	if err := c.Validate(); err != nil {
		t.Fatalf("accepted, but the config is not valid: %v", err)
	}
	for _, family := range inet.Families {
		rules := capture.Rules(c, family)
		if err := rules.Validate(); err != nil {
			t.Fatal(err)
		}
		if text := rules.String(); strings.ContainsFunc(text, func(c rune) bool { return (c < ' ' || c > '~') && c != '\n' }) {
			t.Fatalf("not plain text: %q", text)
		}
	}
}

func texted(errs []error) []string {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return texts
}

// FuzzNetconf has any entry: it is refused with lines that name its keys, or it is decided.
func FuzzNetconf(f *testing.F) {
	annotations, err := json.Marshal(injected)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fmt.Appendf(nil, `{"cniVersion":"1.0.0","name":"n","runtimeConfig":{%q:%s},"defaults":{"redirect_dns":true,"proxy-uid":[1,2]},"timeout":"5s"}`, netconf.Capability, annotations))
	f.Add([]byte(`{"defaults":{"timeout":1,"proxy_uid":1,"proxy-uid":2},"exclude_namespaces":["a",1],"on_missing_annotations":"skip"}`))
	f.Add([]byte(`{"defaults":[],"kubernetes":{"exclude_namespaces":["demo"]},"runtimeConfig":{"io.kubernetes.cri.pod-annotations":null}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		conf, problems := netconf.Parse(text)
		if conf.Timeout <= 0 {
			t.Errorf("timeout %v", conf.Timeout)
		}
		for _, p := range problems {
			if !strings.HasPrefix(p.Error(), "network configuration: ") {
				t.Errorf("does not name the entry: %q", p)
			}
		}
		checkDecision(t, Decide(conf, problems, Pod{"demo", "web"}))
	})
}
