package install

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// A platform is where a distribution of Kubernetes has what an installation needs.
type platform struct {
	dirs     Directories
	method   Method
	runtimes []string
}

// usual are the directories that containerd and CRI-O have by default.
var usual = Directories{Bin: "/opt/cni/bin", Conf: "/etc/cni/net.d"}

// usualRuntimes are where packages and archives put the runtimes.
var usualRuntimes = []string{
	"/usr/bin/containerd", "/usr/local/bin/containerd", "/usr/bin/crio", "/usr/local/bin/crio",
	"/var/lib/rancher/rke2/bin/containerd",
}

// platforms are the directories of Istio's own profiles.
var platforms = map[string]platform{
	"default": {usual, Auto, usualRuntimes},
	"gke":     {Directories{"/home/kubernetes/bin", usual.Conf}, Auto, slices.Concat(usualRuntimes, []string{"/home/containerd/usr/local/bin/containerd"})},
	"k3d":     {Directories{"/bin", "/var/lib/rancher/k3s/agent/etc/cni/net.d"}, Auto, []string{"/bin/k3s"}},
	"k3s": {
		Directories{"/var/lib/rancher/k3s/data/cni", "/var/lib/rancher/k3s/agent/etc/cni/net.d"},
		Auto,
		[]string{"/var/lib/rancher/k3s/data/current/bin/k3s"},
	},
	"microk8s":  {Directories{"/var/snap/microk8s/current/opt/cni/bin", "/var/snap/microk8s/current/args/cni-network"}, Auto, []string{"/snap/microk8s/current/bin/containerd"}},
	"openshift": {Directories{"/var/lib/cni/bin", "/etc/cni/multus/net.d"}, Standalone, []string{"/usr/bin/crio"}},
}

// platformNames are the names in order.
func platformNames() []string { return slices.Sorted(maps.Keys(platforms)) }

func parsePlatform(name string) (platform, error) {
	p, ok := platforms[name]
	if !ok {
		return p, fmt.Errorf("%q: want one of %s", name, strings.Join(platformNames(), ", "))
	}
	return p, nil
}

// below returns the platform where the node's file system is mounted at prefix.
func (p platform) below(prefix string) platform {
	if prefix == "" {
		return p
	}
	p.dirs = Directories{filepath.Join(prefix, p.dirs.Bin), filepath.Join(prefix, p.dirs.Conf)}
	var rs []string
	for _, r := range p.runtimes {
		rs = append(rs, filepath.Join(prefix, r))
	}
	p.runtimes = rs
	return p
}
