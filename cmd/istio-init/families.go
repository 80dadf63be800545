package main

import (
	"fmt"
	"net/netip"
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
	if !run.CaptureAllDNS {
		if to, err = servers(); err != nil {
			return "", err
		}
	}
	if run.Config.DNS = pod.CapturedDNS(run.CaptureAllDNS, to); !run.Config.DNS.Captures() {
		warning = "--redirect-dns captures nothing: /etc/resolv.conf has no server (--capture-all-dns captures queries to any server)"
	}
	return warning, nil
}

// decideFamilies returns the families to capture, and warnings of what is not captured.
func decideFamilies(choice pod.FamilyChoice, dualStack bool, addrs []netutil.Addr, v6Off func() bool) (families []inet.Family, warnings []string) {
	families, caveat := pod.ChooseFamilies(choice, dualStack, addrs, v6Off)
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
	return families, warnings
}
