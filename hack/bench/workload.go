package main

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/netutil/inet"
)

// A workload is a sequence of runs in a namespace: what is measured of one configuration, by
// one backend, in some families.
type workload struct {
	Config  string   `json:"config"`
	Family  string   `json:"family"` // "ipv4" or "dual"
	Backend string   `json:"backend"`
	first   []string // flags
	then    []string // of the changed configuration
}

// The backends, and the flags that choose them.
const (
	nft    = "nft"
	legacy = "legacy"
	native = "nftables"
)

var backends = []string{nft, legacy, native}

func chooses(backend string) []string {
	if backend == native {
		return []string{"--native-nftables"}
	}
	return []string{"--force-iptables-binary", backend}
}

func (w workload) families() []inet.Family {
	if w.Family == "dual" {
		return inet.Families[:]
	}
	return inet.Families[:1]
}

// The actions of a workload, in their order.
var actions = []string{"apply", "re-run", "check", "change", "dry-run", "clean"}

// args returns the command line of an action.
func (w workload) args(action string) []string {
	flags, common := w.first, append(chooses(w.Backend), "--ip-family", w.Family)
	switch action {
	case "check":
		return slices.Concat([]string{"check"}, flags, common)
	case "change":
		flags = w.then
	case "dry-run":
		common = append(common, "--dry-run")
	case "clean":
		return []string{"clean"}
	}
	return slices.Concat([]string{"apply"}, flags, common)
}

// sidecar are the flags by which the injector calls.
var sidecar = strings.Fields("-p 15001 -z 15006 -u 1337 -g 1337 -i * -b *")

// configs are the measured configurations: their flags, and those of the change.
var configs = []struct {
	name        string
	first, then []string
}{
	{"default", with("-d", "15090,15021,15020"), with("-d", "15090,15021", "-o", "9000")},
	{"dns", with("-d", "15090", "--redirect-dns", "--capture-all-dns"), with("-d", "15090,15021", "--redirect-dns", "--capture-all-dns")},
	{"tproxy", with("-d", "15090", "-m", "TPROXY"), with("-d", "15090,15021", "-m", "TPROXY")},
	{"10 prefixes", with("-x", prefixes(0, 10)), with("-x", prefixes(1, 10))},
	{"100 prefixes", with("-x", prefixes(0, 100)), with("-x", prefixes(1, 100))},
	{"1000 prefixes", with("-x", prefixes(0, 1000)), with("-x", prefixes(1, 1000))},
	{"5000 prefixes", with("-x", prefixes(0, 5000)), with("-x", prefixes(1, 5000))},
	{"500 ports", with("-o", ports(0, 500)), with("-o", ports(1, 500))},
}

func with(flags ...string) []string { return slices.Concat(sidecar, flags) }

// workloads returns all that is measured: for each configuration and family those of all backends.
func workloads() (all [][]workload) {
	for _, c := range configs {
		for _, family := range []string{"ipv4", "dual"} {
			if family == "dual" && strings.HasSuffix(c.name, "prefixes") {
				continue // they are of IPv4
			}
			var group []workload
			for _, b := range backends {
				group = append(group, workload{c.name, family, b, c.first, c.then})
			}
			all = append(all, group)
		}
	}
	return all
}

// The lists: no two elements fit into one rule.
func prefixes(from, n int) string {
	return join(from, n, func(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i/128, i%128*2) })
}

func ports(from, n int) string {
	return join(from, n, func(i int) string { return fmt.Sprint(20000 + 2*i) })
}

func groups(from, n int) string {
	return join(from, n, func(i int) string { return fmt.Sprint(100000 + 2*i) })
}

func join(from, n int, element func(int) string) string {
	var all []string
	for i := range n {
		all = append(all, element(from+i))
	}
	return strings.Join(all, ",")
}

// peers are other programs that redirect a pod's connections: how each is called, by what
// its file is called. An action that is missing it does not have.
var peers = map[string]func(workload) map[string][]string{
	"istio-iptables":      istio(),
	"pilot-agent":         istio("istio-iptables"),
	"linkerd2-proxy-init": linkerd,
	"kumactl":             kuma,
}

func istio(command ...string) func(workload) map[string][]string {
	return func(w workload) map[string][]string {
		always := chooses(w.Backend)
		if w.Family == "dual" {
			always = append(always, "--dual-stack")
		}
		line := func(flags ...string) []string { return slices.Concat(command, flags, always) }
		return map[string][]string{
			"apply": line(w.first...), "re-run": line(w.first...), "change": line(w.then...),
			"dry-run": line(append(slices.Clone(w.first), "--dry-run")...), "clean": line(append(slices.Clone(w.then), "--cleanup-only")...),
		}
	}
}

func linkerd(w workload) map[string][]string {
	if w.Backend == native {
		return nil
	}
	line := func(ignored string) []string {
		flags := []string{"-p", "4143", "-o", "4140", "-u", "2102", "--inbound-ports-to-ignore", ignored}
		flags = append(flags, "--firewall-bin-path", "iptables-"+w.Backend, "--firewall-save-bin-path", "iptables-"+w.Backend+"-save")
		return append(flags, fmt.Sprintf("--ipv6=%t", w.Family == "dual"))
	}
	return map[string][]string{"apply": line("4190,4191"), "re-run": line("4190,4191"), "change": line("4190,4191,4567")}
}

func kuma(w workload) map[string][]string {
	if w.Backend == native {
		return nil
	}
	line := func(flags ...string) []string {
		family := map[string]string{"ipv4": "ipv4", "dual": "dualstack"}[w.Family]
		return append([]string{"install", "transparent-proxy", "--kuma-dp-user", "65534", "--ip-family-mode", family}, flags...)
	}
	changed := line("--exclude-outbound-ports", "9000")
	return map[string][]string{"apply": line(), "re-run": line(), "change": changed, "dry-run": line("--dry-run"), "clean": {"uninstall", "transparent-proxy"}}
}
