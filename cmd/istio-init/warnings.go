package main

import (
	"fmt"
	"net/netip"
	"strings"

	"istio-init/capture"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// explainInput warns of values that mean nothing, where Istio is silent.
func (s *settings) explainInput() {
	c := &s.config
	if c.Mode == capture.None {
		s.warn("--istio-inbound-interception-mode is NONE: nothing is captured, in or out")
		return
	}
	if len(c.InboundPorts.Except) > 0 && !c.InboundPorts.All {
		s.warn("--istio-local-exclude-ports means nothing: it counts only while --istio-inbound-ports is *")
	}
	if len(c.OutboundPorts) > 0 && c.OutboundPrefixes.All {
		s.warn("--istio-outbound-ports means nothing: --istio-service-cidr is *, which captures every port; it adds to that and does not narrow it")
	}
	if len(c.VirtualInterfaces) > 0 && c.OutboundPrefixes.Empty() {
		s.warn("--kube-virt-interfaces captures nothing: --istio-service-cidr names no destination")
	}
	if len(s.groupsExclude) > 0 && !c.OwnerGroups.All {
		s.warn("env ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE means nothing: it counts only while ISTIO_OUTBOUND_OWNER_GROUPS is *")
	}
	if s.captureAllDNS && !s.redirectDNS {
		s.warn("--capture-all-dns means nothing without --redirect-dns")
	}
	if s.nativeNFT {
		s.warn("--native-nftables: the rules are made by iptables-nft, which puts them into nf_tables")
	}
}

// resolveDNS takes the name servers of the pod, where look-ups are captured.
func (s *settings) resolveDNS(servers func() ([]netip.Addr, error)) (warning string, err error) {
	switch dns := &s.config.DNS; {
	case !s.redirectDNS:
	case s.captureAllDNS:
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
func (s *settings) decideFamilies(addrs []netutil.Addr, v6Off func() bool) (families []inet.Family, warnings []string) {
	var v6 []string
	for _, a := range addrs {
		if !a.IP.Is4() {
			v6 = append(v6, fmt.Sprintf("%s (%s)", a.IP, a.Interface))
		}
	}
	both := inet.Families[:]
	switch {
	case s.families == familiesDual:
		return both, nil
	case s.families == familiesV4:
	case len(addrs) == 0:
		warnings = append(warnings, "the namespace has no address but loopback and link-local ones: "+
			"the families to capture cannot be told from it (--ip-family tells them)")
		if s.dualStack && !v6Off() {
			return both, warnings
		}
	case len(v6) > 0 && (s.dualStack || len(v6) == len(addrs)):
		return both, nil
	}
	if len(v6) > 0 {
		warnings = append(warnings, "IPv6 is NOT captured, in or out, though the pod has "+strings.Join(v6, ", ")+
			": --dual-stack captures it")
	}
	return both[:1], warnings
}
