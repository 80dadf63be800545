package main

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// atOnce is how many pods a node starts at once.
const atOnce = 50

// Pods are runs from the node for many pods, at once and one after the other.
type Pods struct {
	Backend string  `json:"backend"`
	Program string  `json:"program"` // istio-init, or the CNI plugin
	N       int     `json:"n"`
	Last    float64 `json:"lastReadyMs"` // of those at once
	CPU     float64 `json:"cpuMs"`       // of those at once
	OneWall float64 `json:"oneWallMs"`   // of one alone
	OneCPU  float64 `json:"oneCPUMs"`
}

// measurePods measures runs for many pods.
func (b *bench) measurePods(r *Result) error {
	rounds := max(1, b.rounds/5)
	for _, backend := range backends {
		for _, ways := range []struct {
			name string
			run  func(*namespace) *exec.Cmd
		}{
			{"istio-init", func(ns *namespace) *exec.Cmd {
				w := workload{Family: "ipv4", Backend: backend, first: configs[0].first}
				return exec.Command(b.ours, append(w.args("apply"), "--cni-mode", "--network-namespace", ns.path())...)
			}},
			{"istio-cni", func(ns *namespace) *exec.Cmd { return b.add(backend, ns) }},
		} {
			if backend == legacy && ways.name == "istio-cni" {
				continue // it takes nft where it can
			}
			var last, cpu, oneWall, oneCPU []float64
			for range rounds {
				alone, err := b.pods(1, ways.run)
				if err != nil {
					return err
				}
				all, err := b.pods(atOnce, ways.run)
				if err != nil {
					return err
				}
				last, cpu = append(last, all.wall), append(cpu, all.cpu)
				oneWall, oneCPU = append(oneWall, alone.wall/atOnce), append(oneCPU, alone.cpu/atOnce)
			}
			r.Pods = append(r.Pods, Pods{
				backend, ways.name, atOnce, spreadOf(last).Median, spreadOf(cpu).Median, spreadOf(oneWall).Median, spreadOf(oneCPU).Median,
			})
		}
	}
	return nil
}

// pods starts runs for new pods, that many at once, and returns what all took.
func (b *bench) pods(together int, run func(*namespace) *exec.Cmd) (sum cost, err error) {
	var namespaces []*namespace
	for range atOnce {
		ns, err := newNamespace()
		if err != nil {
			return sum, err
		}
		defer ns.close()
		namespaces = append(namespaces, ns)
	}
	began := time.Now()
	for len(namespaces) > 0 {
		var running []*exec.Cmd
		for _, ns := range namespaces[:together] {
			cmd := run(ns)
			if cmd.Env == nil {
				cmd.Env = b.environment()
			}
			cmd.Stderr = b.log.stderr
			if err := cmd.Start(); err != nil {
				return sum, err
			}
			running = append(running, cmd)
		}
		namespaces = namespaces[together:]
		cpu, err := b.wait(running)
		if err != nil {
			return sum, err
		}
		sum.cpu += cpu
	}
	sum.wall = milliseconds(time.Since(began))
	return sum, nil
}

// entry is a call of a container runtime for a pod that the injector has changed.
const entry = `{"cniVersion": "1.0.0", "name": "k8s-pod-network", "type": "istio-cni", "native_nftables": %t,
"capabilities": {"io.kubernetes.cri.pod-annotations": true},
"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {
	"sidecar.istio.io/status": "{\"initContainers\":[\"istio-validation\"],\"containers\":[\"istio-proxy\"]}",
	"traffic.sidecar.istio.io/excludeInboundPorts": "15090,15021,15020"}},
"prevResult": {"cniVersion": "1.0.0", "ips": []}}`

// add prepares the run of the CNI plugin for a pod.
func (b *bench) add(backend string, ns *namespace) *exec.Cmd {
	cmd := exec.Command(b.cni)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(entry, backend == native))
	cmd.Env = append(b.environment(), "CNI_COMMAND=ADD", "CNI_CONTAINERID=1", "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin", "CNI_NETNS="+ns.path(),
		"CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME=app")
	return cmd
}
