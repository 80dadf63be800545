package options

import "istio-init/capture"

// explainInput warns of values that mean nothing, where Istio is silent.
func (s *Parsed) explainInput() {
	c := &s.Config
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
	if s.CaptureAllDNS && !s.RedirectDNS {
		s.warn("--capture-all-dns means nothing without --redirect-dns")
	}
	if s.nativeNFT {
		s.warn("--native-nftables: the rules are made by iptables-nft, which puts them into nf_tables")
	}
}
