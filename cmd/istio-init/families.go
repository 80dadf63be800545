package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture/pod"
	"istio-init/cmd/istio-init/options"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// resolveDNS sets which DNS queries are captured, by the DNS servers of the pod.
func resolveDNS(run *options.Run, servers func() ([]netip.Addr, error)) (warning string, err error) {
	if !run.RedirectDNS {
		return "", nil
	}
	var to []netip.Addr
	if run.NameServers, err = servers(); err != nil && !run.CaptureAllDNS {
		return "", err
	}
	if !run.CaptureAllDNS {
		to, warning = limitServers(run.NameServers)
	}
	if run.Config.DNS = pod.CapturedDNS(run.CaptureAllDNS, to); !run.Config.DNS.Captures() {
		warning = "--redirect-dns captures nothing: /etc/resolv.conf has no server (--capture-all-dns captures queries to any server)"
	}
	return warning, nil
}

// limitServers returns the servers to capture, and a warning if there are many. Resolvers of
// the C library ask the first three (MAXNS in glibc and musl); others, such as c-ares, ask
// all, so queries to many more are captured.
func limitServers(servers []netip.Addr) (captured []netip.Addr, warning string) {
	const asked, most = 3, 32
	switch n := len(servers); {
	case n > most:
		return servers[:most], fmt.Sprintf("/etc/resolv.conf has %d servers: queries to the first %d are captured (--capture-all-dns captures queries to any server)", n, most)
	case n > asked:
		warning = fmt.Sprintf("/etc/resolv.conf has %d servers: queries to all are captured, though the C library asks only the first %d", n, asked)
	}
	return servers, warning
}

// decideFamilies returns the families to capture, and warnings of what is not captured.
func decideFamilies(run *options.Run, addrs []netutil.Addr, v6Off func() bool) (families []inet.Family, warnings []string) {
	families, caveat := pod.ChooseFamilies(run.Families, run.DualStack, addrs, v6Off)
	if caveat.NoAddress {
		warnings = append(warnings, "the namespace has no address but loopback and link-local ones: "+
			"the families to capture are unknown (set --ip-family)")
	}
	if len(caveat.Uncaptured) > 0 {
		var v6 []string
		for _, a := range caveat.Uncaptured {
			v6 = append(v6, fmt.Sprintf("%s (%s)", a.IP, a.Interface))
		}
		warnings = append(warnings, "IPv6 is NOT captured, inbound or outbound, though the pod has "+strings.Join(v6, ", ")+
			": --dual-stack captures it")
	}
	var own []netip.Addr
	for _, a := range addrs {
		own = append(own, a.IP)
	}
	return families, slices.Concat(warnings, run.Ineffective(families), run.DNSLoop(families, own))
}
