package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	security "github.com/openshift/api/security/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	kustomize "sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	strict "sigs.k8s.io/yaml"
)

// examples has the manifests.
const examples = "../../../examples/cni/"

// overlays are what users apply.
var overlays = []string{"base", "k3s", "gke", "openshift"}

// types has a type for each kind of our manifests.
var types = map[string]func() any{
	"v1 ConfigMap":      func() any { return &core.ConfigMap{} },
	"v1 Namespace":      func() any { return &core.Namespace{} },
	"v1 ResourceQuota":  func() any { return &core.ResourceQuota{} },
	"v1 ServiceAccount": func() any { return &core.ServiceAccount{} },
	"apps/v1 DaemonSet": func() any { return &apps.DaemonSet{} },
	"security.openshift.io/v1 SecurityContextConstraints": func() any { return &security.SecurityContextConstraints{} },
	"k8s.cni.cncf.io/v1 NetworkAttachmentDefinition":      func() any { return &attachment{} },
	"kustomize.config.k8s.io/v1beta1 Kustomization":       func() any { return &kustomize.Kustomization{} },
	"kustomize.config.k8s.io/v1alpha1 Component":          func() any { return &kustomize.Kustomization{} },
}

// attachment is the NetworkAttachmentDefinition of the Network Plumbing Working Group.
type attachment struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Config string `json:"config"`
	} `json:"spec"`
}

// objects reads YAML documents; an unknown or repeated field is an error.
func objects(t *testing.T, from string, text []byte) (all []any) {
	t.Helper()
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		var kind meta.TypeMeta
		if err = errors.Join(err, strict.Unmarshal(doc, &kind)); err != nil {
			t.Fatalf("%s: %v", from, err)
		}
		made, known := types[kind.APIVersion+" "+kind.Kind]
		if !known {
			t.Fatalf("%s: no type for %+v", from, kind)
		}
		object := made()
		if err := strict.UnmarshalStrict(doc, object); err != nil {
			t.Errorf("%s: %v", from, err)
		}
		all = append(all, object)
	}
}

// render returns the objects of a kustomization.
func render(t *testing.T, files filesys.FileSystem, path string) []any {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return objects(t, path, text)
}

// TestManifestsHaveOnlyKnownFields decodes each file, patches too, with the types of
// Kubernetes, OpenShift and kustomize.
func TestManifestsHaveOnlyKnownFields(t *testing.T) {
	paths, err := filepath.Glob(examples + "*/*.yaml")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d files: %v", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		objects(t, path, text)
	}
}

// daemonSet returns the one DaemonSet of an overlay.
func daemonSet(t *testing.T, all []any) *apps.DaemonSet {
	t.Helper()
	var found []*apps.DaemonSet
	for _, object := range all {
		if set, ok := object.(*apps.DaemonSet); ok {
			found = append(found, set)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d DaemonSets", len(found))
	}
	return found[0]
}

// TestOverlaysRender checks the directories of each platform.
func TestOverlaysRender(t *testing.T) {
	directories := map[string][]string{
		"base":      {"/opt/cni/bin", "/etc/cni/net.d"},
		"k3s":       {"/var/lib/rancher/k3s/data/cni", "/var/lib/rancher/k3s/agent/etc/cni/net.d"},
		"gke":       {"/home/kubernetes/bin", "/etc/cni/net.d"},
		"openshift": {"/var/lib/cni/bin", "/etc/cni/multus/net.d"},
	}
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			pod := daemonSet(t, render(t, filesys.MakeFsOnDisk(), examples+overlay)).Spec.Template.Spec
			var got []string
			for _, v := range pod.Volumes {
				if v.HostPath != nil {
					got = append(got, v.HostPath.Path)
				}
			}
			if diff := cmp.Diff(directories[overlay], got); diff != "" {
				t.Errorf("host paths (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUninstallCanBeAddedToEachOverlay renders the component with each.
func TestUninstallCanBeAddedToEachOverlay(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			files := filesys.MakeFsInMemory()
			for _, from := range []string{"base", overlay, "uninstall"} {
				copyFolder(t, files, from)
			}
			text := "resources: [../" + overlay + "]\ncomponents: [../uninstall]\n"
			if err := files.WriteFile("/cni/mine/kustomization.yaml", []byte(text)); err != nil {
				t.Fatal(err)
			}
			pod := daemonSet(t, render(t, files, "/cni/mine")).Spec.Template.Spec
			c := pod.Containers[0]
			if len(pod.Containers) != 1 || c.Args[0] != "uninstall" || c.StartupProbe != nil || c.ReadinessProbe != nil {
				t.Errorf("want one container that runs uninstall and has no probe, got %+v", pod.Containers)
			}
		})
	}
}

// TestKustomizationOfTheReadmeRenders has the image and the entry that a user sets.
func TestKustomizationOfTheReadmeRenders(t *testing.T) {
	readme, err := os.ReadFile(examples + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	files := filesys.MakeFsInMemory()
	for _, from := range []string{"base", "k3s"} {
		copyFolder(t, files, from)
	}
	for name, text := range map[string]string{"kustomization.yaml": text, "netconf.json": `{"mine": true}`} {
		if err := files.WriteFile("/cni/mine/"+name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	all := render(t, files, "/cni/mine")
	pod := daemonSet(t, all).Spec.Template.Spec
	if got := pod.Containers[0].Image; !strings.HasSuffix(got, ":1.0.0") {
		t.Errorf("image %s", got)
	}
	for _, object := range all {
		if c, ok := object.(*core.ConfigMap); ok && (c.Data["netconf.json"] != `{"mine": true}` || c.Name != pod.Volumes[2].ConfigMap.Name) {
			t.Errorf("config map %s has %q, and the pod has that of %s", c.Name, c.Data, pod.Volumes[2].ConfigMap.Name)
		}
	}
}

func copyFolder(t *testing.T, to filesys.FileSystem, name string) {
	t.Helper()
	paths, err := filepath.Glob(examples + name + "/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files: %v", name, len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err == nil {
			err = to.WriteFile("/cni/"+name+"/"+filepath.Base(path), text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
