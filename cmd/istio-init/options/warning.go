package options

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

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
	if s.NativeNFT && s.Force != nil {
		s.warn("--force-iptables-binary has no effect: --native-nftables makes the rules without iptables")
	}
}

// Ineffective warns of values that capture nothing in the captured families.
func (r *Run) Ineffective(families []inet.Family) (warnings []string) {
	c := r.Config
	if c.Mode == capture.None {
		return nil
	}
	names := joined(families)
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	captured := func(a netip.Addr) bool {
		return slices.ContainsFunc(families, func(f inet.Family) bool { return f.Has(a) })
	}
	if only := c.OutboundPrefixes.Only; len(only) > 0 && !slices.ContainsFunc(only, func(p netip.Prefix) bool { return captured(p.Addr()) }) {
		warn("--istio-service-cidr captures nothing: it has no CIDR of %s", names)
	}
	if excluded := slices.DeleteFunc(slices.Clone(families), func(f inet.Family) bool { return !excludesAll(c.OutboundPrefixes, f) }); len(excluded) > 0 {
		warn("--istio-service-cidr captures nothing of %s: --istio-service-exclude-cidr excludes all of it", joined(excluded))
	}
	if servers := c.DNS.Servers; len(servers) > 0 && !c.DNS.All && !slices.ContainsFunc(servers, captured) {
		warn("--redirect-dns captures nothing: /etc/resolv.conf has no server of %s, only %s", names, joined(servers))
	}
	var everybody []string
	for _, ids := range []struct {
		option string
		list   []iptables.IDRange
	}{{"--proxy-uid", c.ProxyUIDs}, {"--proxy-gid", c.ProxyGIDs}, {"env ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", c.OwnerGroups.Except}} {
		if slices.Contains(ids.list, iptables.IDRange{Hi: iptables.MaxID}) {
			everybody = append(everybody, ids.option)
		}
	}
	if len(everybody) > 0 {
		warn("nothing outbound is captured: everybody is in %s", strings.Join(everybody, " and "))
	}
	return warnings
}

// excludesAll reports whether every captured destination of a family is excluded, each by
// one prefix, or all by the two halves of the family.
func excludesAll(s capture.Selector[netip.Prefix], f inet.Family) bool {
	only := slices.DeleteFunc(slices.Clone(s.Only), func(p netip.Prefix) bool { return !f.Has(p.Addr()) })
	if s.All {
		only = []netip.Prefix{f.All()}
	}
	excluded := func(p netip.Prefix) bool {
		return slices.ContainsFunc(s.Except, func(e netip.Prefix) bool { return e.Bits() <= p.Bits() && e.Contains(p.Addr()) })
	}
	return len(only) > 0 && !slices.ContainsFunc(only, func(p netip.Prefix) bool {
		low := netip.PrefixFrom(f.Any(), 1)
		high := netip.PrefixFrom([...]netip.Addr{inet.IPv4: netip.AddrFrom4([4]byte{128}), inet.IPv6: netip.AddrFrom16([16]byte{128})}[f], 1)
		return !excluded(p) && (p.Bits() > 0 || !excluded(low) || !excluded(high))
	})
}

// DNSLoop warns of a DNS server in the pod, whose own addresses are known: the agent asks it,
// and the queries that it forwards are captured and go to the agent. If another user is the
// proxy's or a group is not captured, it is taken for that of the server.
func (r *Run) DNSLoop(families []inet.Family, own []netip.Addr) []string {
	c := r.Config
	inPod := func(a netip.Addr) bool { return a.IsLoopback() || slices.Contains(own, a) }
	elsewhere := c.DNS.All || slices.ContainsFunc(c.DNS.Servers, func(a netip.Addr) bool {
		return !inPod(a) && slices.ContainsFunc(families, func(f inet.Family) bool { return f.Has(a) })
	})
	excluded := len(c.ProxyUIDs) > 1 || !c.OwnerGroups.All || len(c.OwnerGroups.Except) > 0 ||
		slices.ContainsFunc(c.OutboundExcludePorts, func(p iptables.PortRange) bool { return p.Contains(capture.DNSPort) })
	if c.Mode == capture.None || !elsewhere || excluded {
		return nil
	}
	looping := slices.DeleteFunc(slices.Clone(r.NameServers), func(a netip.Addr) bool { return !inPod(a) })
	if len(looping) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("DNS queries may loop: the name server %s of /etc/resolv.conf is in the pod, and the queries that it forwards are captured; "+
		"exclude its user with -u %s,UID, or its group with ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=GID", joined(looping), c.ProxyUIDs[0])}
}

// joined returns values for a message.
func joined[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return strings.Join(texts, " or ")
}
