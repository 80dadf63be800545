package manifests

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	security "github.com/openshift/api/security/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// TestInstallerAsksForNoMoreThanFiles checks what a reviewer of a platform team looks for.
func TestInstallerAsksForNoMoreThanFiles(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			all := render(t, filesys.MakeFsOnDisk(), examples+overlay)
			set := daemonSet(t, all)
			checkPod(t, set.Spec.Template.Spec)
			for _, c := range set.Spec.Template.Spec.Containers {
				checkContainer(t, c)
			}
			for _, object := range all {
				if a, ok := object.(*core.ServiceAccount); ok && (a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken) {
					t.Error("the service account has a token")
				}
			}
		})
	}
}

// TestConstraintsOfOpenShiftAdmitTheInstaller compares what the constraints allow with what the pod
// asks for: OpenShift refuses a pod whose volumes are not all allowed.
func TestConstraintsOfOpenShiftAdmitTheInstaller(t *testing.T) {
	all := render(t, filesys.MakeFsOnDisk(), examples+"openshift")
	pod := daemonSet(t, all).Spec.Template.Spec
	wanted := map[security.FSType]bool{}
	for _, v := range pod.Volumes {
		switch {
		case v.HostPath != nil:
			wanted[security.FSTypeHostPath] = true
		case v.ConfigMap != nil:
			wanted[security.FSTypeConfigMap] = true
		default:
			t.Errorf("volume %s is of another kind", v.Name)
		}
	}
	want := slices.Sorted(maps.Keys(wanted))
	for _, object := range all {
		c, ok := object.(*security.SecurityContextConstraints)
		if !ok {
			continue
		}
		if diff := cmp.Diff(want, c.Volumes); diff != "" {
			t.Errorf("volumes (-pod +constraints):\n%s", diff)
		}
		if diff := cmp.Diff(pod.Containers[0].SecurityContext.Capabilities.Add, c.AllowedCapabilities); diff != "" {
			t.Errorf("capabilities (-pod +constraints):\n%s", diff)
		}
		if user := "system:serviceaccount:istio-cni:" + pod.ServiceAccountName; !slices.Contains(c.Users, user) {
			t.Errorf("not for %s", user)
		}
		return
	}
	t.Error("no constraints")
}

func checkPod(t *testing.T, pod core.PodSpec) {
	t.Helper()
	got := map[string]any{
		"token":       pod.AutomountServiceAccountToken != nil && *pod.AutomountServiceAccountToken,
		"links":       pod.EnableServiceLinks != nil && *pod.EnableServiceLinks,
		"other hosts": pod.HostPID || pod.HostIPC,
		"priority":    pod.PriorityClassName,
		"nodes":       pod.NodeSelector["kubernetes.io/os"],
		"tolerations": pod.Tolerations,
		"seccomp":     pod.SecurityContext.SeccompProfile.Type,
		"containers":  len(pod.Containers) + len(pod.InitContainers),
		"volumes":     len(pod.Volumes),
	}
	want := map[string]any{
		"token": false, "links": false, "other hosts": false, "priority": "system-node-critical", "nodes": "linux",
		"tolerations": []core.Toleration{{Operator: core.TolerationOpExists}},
		"seccomp":     core.SeccompProfileTypeRuntimeDefault, "containers": 1, "volumes": 3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the pod (-want +got):\n%s", diff)
	}
}

func checkContainer(t *testing.T, c core.Container) {
	t.Helper()
	s := c.SecurityContext
	got := map[string]any{
		"privileged": *s.Privileged, "escalation": *s.AllowPrivilegeEscalation, "read-only": *s.ReadOnlyRootFilesystem,
		"capabilities": *s.Capabilities, "ports": len(c.Ports), "requests": len(c.Resources.Requests), "limits": len(c.Resources.Limits),
		"image": strings.HasPrefix(c.Image, "registry.example.com/"),
	}
	want := map[string]any{
		"privileged": false, "escalation": false, "read-only": true,
		"capabilities": core.Capabilities{Drop: []core.Capability{"ALL"}, Add: []core.Capability{"DAC_OVERRIDE"}},
		"ports":        0, "requests": 2, "limits": 2, "image": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("container %s (-want +got):\n%s", c.Name, diff)
	}
}
