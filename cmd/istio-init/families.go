package main

import (
	"fmt"
	"net/netip"
	"strings"

	"istio-init/cmd/istio-init/options"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// resolveDNS takes the name servers of the pod, where look-ups are captured.
func resolveDNS(run *options.Run, servers func() ([]netip.Addr, error)) (warning string, err error) {
	switch dns := &run.Config.DNS; {
	case !run.RedirectDNS:
	case run.CaptureAllDNS:
		dns.All = true
	default:
		dns.Servers, err = servers()
		if err == nil && len(dns.Servers) == 0 {
			return "--redirect-dns captures nothing: /etc/resolv.conf names no server, and --capture-all-dns is not given", nil
		}
	}
	return "", err
}

// decideFamilies says which families are captured, as Istio does: the first
// address of the namespace decides, and with --dual-stack any IPv6 address does.
// IPv4 rules are always there. v6Off tells whether the namespace has no IPv6. The
// warnings name what stays uncaptured.
func decideFamilies(choice options.FamilyChoice, dualStack bool, addrs []netutil.Addr, v6Off func() bool) (families []inet.Family, warnings []string) {
	var v6 []string
	for _, a := range addrs {
		if !a.IP.Is4() {
			v6 = append(v6, fmt.Sprintf("%s (%s)", a.IP, a.Interface))
		}
	}
	both := inet.Families[:]
	switch {
	case choice == options.BothFamilies:
		return both, nil
	case choice == options.OnlyIPv4:
	case len(addrs) == 0:
		warnings = append(warnings, "the namespace has no address but loopback and link-local ones: "+
			"the families to capture cannot be told from it (--ip-family tells them)")
		if dualStack && !v6Off() {
			return both, warnings
		}
	case len(v6) > 0 && (dualStack || len(v6) == len(addrs)):
		return both, nil
	}
	if len(v6) > 0 {
		warnings = append(warnings, "IPv6 is NOT captured, in or out, though the pod has "+strings.Join(v6, ", ")+
			": --dual-stack captures it")
	}
	return both[:1], warnings
}
