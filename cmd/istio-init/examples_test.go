package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"istio-init/capture/pod"
	"istio-init/test/flow"
	"istio-init/test/scenario"
)

const examples = "../../examples/"

// podManifests are the pods of examples, each with the scenario whose rules it has.
var podManifests = []struct{ file, scenario string }{
	{"pod.yaml", "published-current"},
	{"pod-tproxy.yaml", "tproxy-default"},
	{"pod-dual-stack.yaml", "redirect-default"},
	{"pod-dns.yaml", "published-dns"},
	{"pod-validation.yaml", "published-current"},
}

// A manifest is a pod, as much of it as the examples have.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		InitContainers []container `yaml:"initContainers"`
		Containers     []container
	}
}

type container struct {
	Name, Image     string
	Args            []string
	Env             []struct{ Name, Value string }
	SecurityContext securityContext `yaml:"securityContext"`
}

type securityContext struct {
	RunAsUser                int   `yaml:"runAsUser"`
	RunAsGroup               int   `yaml:"runAsGroup"`
	RunAsNonRoot             *bool `yaml:"runAsNonRoot"`
	Privileged               bool
	AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
	Capabilities             struct{ Drop, Add []string }
}

// readYAML reads one document into a value that has a field for each key.
func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		t.Fatalf("%s: more than one document, or %v", path, err)
	}
}

func readManifest(t *testing.T, name string) (pod manifest, first container) {
	t.Helper()
	readYAML(t, examples+name, &pod)
	if pod.APIVersion != "v1" || pod.Kind != "Pod" || pod.Metadata.Name == "" || len(pod.Spec.InitContainers) != 1 {
		t.Fatalf("%s is not a pod with one init container", name)
	}
	return pod, pod.Spec.InitContainers[0]
}

func TestExamplesOfPodsHaveTheRulesOfTheirScenarios(t *testing.T) {
	for _, tt := range podManifests {
		t.Run(tt.file, func(t *testing.T) {
			pod, init := readManifest(t, tt.file)
			env := ""
			for _, e := range init.Env {
				env += e.Name + "=" + e.Value + "\n"
			}
			got := haveRulesOf(t, tt.scenario, init.Args, env)
			for _, c := range pod.Spec.Containers {
				who := flow.Identity{UID: uint32(c.SecurityContext.RunAsUser), GID: uint32(c.SecurityContext.RunAsGroup)}
				if c.Name == "istio-proxy" && who != got.config.Proxy() {
					t.Errorf("the proxy is %+v, and the rules are for %+v", who, got.config.Proxy())
				}
			}
		})
	}
}

// haveRulesOf fails the test unless a command line makes, in an environment and without a
// warning, the rules of a scenario, as far as it captures the same families.
func haveRulesOf(t *testing.T, name string, args []string, env string) *parsedScenario {
	t.Helper()
	want := scenario.Load(t, testdata, name)
	args = commandLine(programName, args)
	if !slices.Contains(applyNames, args[0]) {
		t.Fatalf("%s is not the command apply", args[0])
	}
	got := parseScenario(t, &scenario.Scenario{Path: name, Args: args[1:], Archive: &txtar.Archive{Files: []txtar.File{
		{Name: "env", Data: []byte(env)},
		{Name: "resolv.conf", Data: []byte(want.Section("resolv.conf"))},
	}}})
	for _, w := range got.warnings {
		if !strings.HasPrefix(w, "IPv6 is NOT captured") { // what is meant, where only IPv4 is
			t.Errorf("a warning: %s", w)
		}
	}
	for _, f := range got.config.Captured {
		rs := got.config.Rules(f)
		if diff := cmp.Diff(want.Section(f.String()), previewText(rs, pod.Wanted(got.settings.Config, got.config.Captured).Routes[f])); diff != "" {
			t.Errorf("the %s rules are not those of %s (-want +got):\n%s", f, name, diff)
		}
	}
	return got
}

// TestExamplesAskForNoMoreThanTheyNeed keeps the security contexts those of Istio,
// with a root file system that cannot be written to.
func TestExamplesAskForNoMoreThanTheyNeed(t *testing.T) {
	for _, tt := range podManifests {
		_, init := readManifest(t, tt.file)
		var want securityContext
		no, yes := false, true
		want.AllowPrivilegeEscalation, want.ReadOnlyRootFilesystem, want.RunAsNonRoot = &no, true, &no
		want.Capabilities.Drop, want.Capabilities.Add = []string{"ALL"}, []string{"NET_ADMIN"}
		name := "istio-init"
		if tt.file == "pod-validation.yaml" {
			name = "istio-validation"
			want.RunAsUser, want.RunAsGroup, want.RunAsNonRoot, want.Capabilities.Add = 1337, 1337, &yes, nil
		}
		if diff := cmp.Diff(want, init.SecurityContext); diff != "" || init.Name != name {
			t.Errorf("%s: the security context of %s (-want +got):\n%s", tt.file, init.Name, diff)
		}
	}
}

// TestTheValidationExampleOnlyValidates looks at what its arguments mean besides
// rules.
func TestTheValidationExampleOnlyValidates(t *testing.T) {
	_, init := readManifest(t, "pod-validation.yaml")
	_, plain := readManifest(t, "pod.yaml")
	if diff := cmp.Diff(append(plain.Args, "--run-validation", "--skip-rule-apply"), init.Args); diff != "" {
		t.Errorf("the arguments (-want +got):\n%s", diff)
	}
	got := haveRulesOf(t, "published-current", init.Args, "")
	if !got.settings.RunValidation || !got.settings.SkipApply {
		t.Error("it does not validate, or it applies")
	}
}

// TestOverlaysForIstioSwapTheImageAlone reads the three ways to name the image to
// Istio's injector. It takes a name with a slash as it is.
func TestOverlaysForIstioSwapTheImageAlone(t *testing.T) {
	type values struct {
		Global struct {
			ProxyInit struct{ Image string } `yaml:"proxy_init"`
		}
	}
	var helm values
	readYAML(t, examples+"istio/values.yaml", &helm)
	if !strings.Contains(helm.Global.ProxyInit.Image, "/") {
		t.Errorf("the injector would not take %q", helm.Global.ProxyInit.Image)
	}
	var operator struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Spec       struct{ Values values }
	}
	readYAML(t, examples+"istio/operator.yaml", &operator)
	if operator.APIVersion != "install.istio.io/v1alpha1" || operator.Kind != "IstioOperator" || operator.Spec.Values != helm {
		t.Errorf("operator.yaml says %+v, values.yaml %+v", operator, helm)
	}
	var own struct {
		Webhook struct{ Templates map[string]string } `yaml:"sidecarInjectorWebhook"`
	}
	readYAML(t, examples+"istio/template.yaml", &own)
	var patch manifest
	d := yaml.NewDecoder(strings.NewReader(own.Webhook.Templates["istio-init"]))
	d.KnownFields(true)
	if err := d.Decode(&patch); err != nil {
		t.Fatal(err)
	}
	var want manifest
	want.Spec.InitContainers = []container{{Name: "istio-init", Image: helm.Global.ProxyInit.Image}}
	want.Spec.InitContainers[0].SecurityContext.ReadOnlyRootFilesystem = true
	if diff := cmp.Diff(want, patch); diff != "" {
		t.Errorf("the template (-want +got):\n%s", diff)
	}
}

// TestEveryExampleIsTested finds files that no test here reads. Those of the CNI plugin are read
// by the tests of hack/cni/manifests, which know the types of Kubernetes.
func TestEveryExampleIsTested(t *testing.T) {
	want := []string{
		"README.md", "istio/operator.yaml", "istio/template.yaml", "istio/values.yaml",
		"vm/README.md", "vm/cluster.env", "vm/istio-init.service", "vm/sidecar.env",
	}
	for _, tt := range podManifests {
		want = append(want, tt.file)
	}
	var got []string
	err := filepath.WalkDir(examples, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "cni" {
			return fs.SkipDir
		}
		if err == nil && !entry.IsDir() {
			got = append(got, strings.TrimPrefix(path, examples))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files of examples (-tested +there):\n%s", diff)
	}
}
