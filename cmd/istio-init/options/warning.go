package options

import "istio-init/capture"

// explainInput warns of values without effect, which Istio accepts silently.
func (s *Parsed) explainInput() {
	c := &s.Config
	if c.Mode == capture.None {
		s.warn("--istio-inbound-interception-mode is NONE: nothing is captured, inbound or outbound")
		return
	}
	if len(c.InboundPorts.Except) > 0 && !c.InboundPorts.All {
		s.warn("--istio-local-exclude-ports has no effect: it applies only if --istio-inbound-ports is *")
	}
	if len(c.OutboundPorts) > 0 && c.OutboundPrefixes.All {
		s.warn("--istio-outbound-ports has no effect: --istio-service-cidr is * and captures every port; the ports add to the CIDRs and do not restrict them")
	}
	switch virtual := len(c.VirtualInterfaces) > 0; {
	case virtual && c.OutboundPrefixes.Empty():
		s.warn("--kube-virt-interfaces has no effect: --istio-service-cidr names no destination")
	case virtual && s.RedirectDNS:
		s.warn("--redirect-dns does not capture DNS queries over UDP from --kube-virt-interfaces: the agent listens on localhost, which forwarded packets cannot reach")
	}
	if len(s.groupsExclude) > 0 && !c.OwnerGroups.All {
		s.warn("env ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE has no effect: it applies only if ISTIO_OUTBOUND_OWNER_GROUPS is *")
	}
	if s.CaptureAllDNS && !s.RedirectDNS {
		s.warn("--capture-all-dns has no effect without --redirect-dns")
	}
	if s.nativeNFT {
		s.warn("--native-nftables: iptables-nft makes the rules, which are in nf_tables then")
	}
}
