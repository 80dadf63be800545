package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// image has the program of this package and istio-init.
const image = "localhost/pod:1"

// A pod is a running one.
type pod struct {
	node *node
	id   string
	conf *cri.PodSandboxConfig
	ips  []string // IPv4, then IPv6
}

// importImage makes the image and gives it to containerd.
func (n *node) importImage(t *testing.T, dir string) {
	t.Helper()
	layout := t.TempDir()
	layer, archive := layout+"/layer.tar", layout+"/image.tar"
	command(t, "tar", "-C", filepath.Join(store, "bin"), "-cf", layer, "program", "istio-init")
	write(t, layout+"/config.json", `{"architecture":"`+runtime.GOARCH+`","os":"linux","config":{"Cmd":["/program","pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:`+
		strings.Fields(command(t, "sha256sum", layer))[0]+`"]}}`)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{image}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, layout+"/manifest.json", string(manifest))
	command(t, "tar", "-C", layout, "-cf", archive, "manifest.json", "config.json", "layer.tar")
	command(t, "ctr", "--address", dir+"/socket", "--namespace", "k8s.io", "images", "import", archive)
	wait(t, "the image", func(ctx context.Context) error {
		found, err := n.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
		if err == nil && found.Image == nil {
			err = fmt.Errorf("%s is not known", image)
		}
		return err
	})
}

// command runs a program, which has to succeed, and returns what it prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// sandbox describes a pod.
func sandbox(namespace, name string, annotations map[string]string) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: name, Namespace: namespace, Uid: namespace + "-" + name},
		Annotations:  annotations,
		LogDirectory: filepath.Join(store, "log", namespace, name),
		Linux: &cri.LinuxPodSandboxConfig{
			CgroupParent: os.Getenv("CGROUP"),
			SecurityContext: &cri.LinuxSandboxSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Network: cri.NamespaceMode_POD, Pid: cri.NamespaceMode_CONTAINER},
			},
		},
	}
}

// run starts a pod without containers, as the kubelet does first.
func (n *node) run(ctx context.Context, conf *cri.PodSandboxConfig) (*pod, error) {
	made, err := n.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: conf})
	if err != nil {
		return nil, err
	}
	p := &pod{node: n, id: made.PodSandboxId, conf: conf}
	status, err := n.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: p.id})
	if err != nil {
		return nil, err
	}
	if net := status.Status.Network; net != nil && net.Ip != "" {
		p.ips = []string{net.Ip}
		for _, more := range net.AdditionalIps {
			p.ips = append(p.ips, more.Ip)
		}
	}
	return p, nil
}

// mustRun is run, which has to succeed.
func (n *node) mustRun(t *testing.T, conf *cri.PodSandboxConfig) *pod {
	t.Helper()
	p, err := n.run(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// stop ends a pod, as the kubelet does.
func (p *pod) stop(t *testing.T) {
	t.Helper()
	if _, err := p.node.StopPodSandbox(t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatalf("stop %s: %v", p.conf.Metadata.Name, err)
	}
	if _, err := p.node.RemovePodSandbox(t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatalf("remove %s: %v", p.conf.Metadata.Name, err)
	}
}

// start starts a container as a user, without any capability.
func (p *pod) start(t *testing.T, name string, uid int64, words ...string) (id string) {
	t.Helper()
	made, err := p.node.CreateContainer(t.Context(), &cri.CreateContainerRequest{
		PodSandboxId:  p.id,
		SandboxConfig: p.conf,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: name},
			Image:    &cri.ImageSpec{Image: image},
			Command:  words,
			LogPath:  name,
			Linux: &cri.LinuxContainerConfig{
				Resources: &cri.LinuxContainerResources{},
				SecurityContext: &cri.LinuxContainerSecurityContext{
					RunAsUser: &cri.Int64Value{Value: uid}, RunAsGroup: &cri.Int64Value{Value: uid},
					Capabilities:     &cri.Capability{DropCapabilities: []string{"ALL"}},
					NoNewPrivs:       true,
					ReadonlyRootfs:   true,
					NamespaceOptions: p.conf.Linux.SecurityContext.NamespaceOptions,
				},
			},
		},
	})
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	if _, err := p.node.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: made.ContainerId}); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	return made.ContainerId
}

// exitCode waits for the end of a container.
func (p *pod) exitCode(t *testing.T, container string) (code int32) {
	t.Helper()
	wait(t, "the end of a container", func(ctx context.Context) error {
		got, err := p.node.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: container})
		if err == nil && got.Status.State != cri.ContainerState_CONTAINER_EXITED {
			err = fmt.Errorf("it is in state %s", got.Status.State)
		}
		code = got.GetStatus().GetExitCode()
		return err
	})
	return code
}

// call connects from a container, and returns who answers.
func (p *pod) call(t *testing.T, container string, addr string) string {
	t.Helper()
	got, err := p.node.ExecSync(t.Context(), &cri.ExecSyncRequest{
		ContainerId: container, Cmd: []string{"/program", "call", addr}, Timeout: int64(timeout.Seconds()),
	})
	if err != nil {
		t.Fatalf("call %s: %v", addr, err)
	}
	if got.ExitCode != 0 {
		return strings.TrimSpace(string(got.Stderr))
	}
	return strings.TrimSpace(string(got.Stdout))
}

// log returns what a container has written.
func (p *pod) log(t *testing.T, container string) string {
	t.Helper()
	return read(t, filepath.Join(p.conf.LogDirectory, container))
}

// onHost makes a pod one with the host's network.
func onHost(conf *cri.PodSandboxConfig) *cri.PodSandboxConfig {
	conf.Linux.SecurityContext.NamespaceOptions.Network = cri.NamespaceMode_NODE
	return conf
}

// wantRules checks the rules in a pod with istio-init.
func (n *node) wantRules(t *testing.T, p *pod) {
	t.Helper()
	status, err := n.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.id, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	var info struct{ Pid int }
	if err := json.Unmarshal([]byte(status.Info["info"]), &info); err != nil || info.Pid == 0 {
		t.Fatalf("no process in %q: %v", status.Info, err)
	}
	command(t, "istio-init", append([]string{"check", "--network-namespace", fmt.Sprintf("/proc/%d/ns/net", info.Pid)}, flags...)...)
}
