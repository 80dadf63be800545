package decision

import (
	"maps"
	"os"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestTemplateOfHintsIsUnderstood executes the template of examples/cni as the injector does,
// with what its templates are given, and decides by the annotations.
func TestTemplateOfHintsIsUnderstood(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../examples/cni/istiod-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		SidecarInjectorWebhook struct{ Templates map[string]string } `yaml:"sidecarInjectorWebhook"`
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	hints, err := template.New("hints").Parse(values.SidecarInjectorWebhook.Templates["hints"])
	if err != nil {
		t.Fatal(err)
	}
	type proxyConfig struct{ ProxyMetadata map[string]string }
	type data struct { // the fields of SidecarTemplateData in Istio's pkg/kube/inject that are used
		ProxyUID, ProxyGID int64
		ProxyConfig        *proxyConfig
	}
	for name, c := range map[string]struct {
		metadata map[string]string
		want     map[string]string
	}{
		"nothing-set": {nil, map[string]string{"proxy-uid": "1000629999", "proxy-gid": "1000620000"}},
		"all-set": {
			map[string]string{"ISTIO_META_DNS_CAPTURE": "true", "ISTIO_DUAL_STACK": "true", "INVALID_DROP": "true", "OTHER": "x"},
			map[string]string{
				"proxy-uid": "1000629999", "proxy-gid": "1000620000",
				"redirect-dns": "true", "capture-all-dns": "true", "dual-stack": "true", "drop-invalid": "true",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rendered strings.Builder
			if err := hints.Execute(&rendered, data{1000629999, 1000620000, &proxyConfig{c.metadata}}); err != nil {
				t.Fatal(err)
			}
			var pod struct {
				Metadata struct{ Annotations map[string]string }
			}
			if err := yaml.Unmarshal([]byte(rendered.String()), &pod); err != nil {
				t.Fatal(err)
			}
			annotations := with("openshift.io/scc", "restricted-v2")
			maps.Copy(annotations, pod.Metadata.Annotations)
			d := Decide(entry(annotations), nil, Pod{"demo", "web"})
			if d.Verdict != Apply {
				t.Fatalf("%s: %s", d.Verdict, d.Reason)
			}
			got := map[string]string{}
			for _, v := range d.Values {
				if strings.HasPrefix(v.From, from(HintPrefix)) {
					got[v.Option] = v.Text
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("options of hints (-want +got):\n%s", diff)
			}
		})
	}
}
