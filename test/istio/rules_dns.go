package istio

import (
	"fmt"
	"net/netip"

	"istio-init/iptables"
	"istio-init/netutil/inet"
)

func (i *istio) dns() {
	c := i.c
	if !c.DNS.Captures() {
		return
	}
	var servers []netip.Addr
	for _, s := range c.DNS.Servers {
		if s.Is4() == (i.f == inet.IPv4) {
			servers = append(servers, s)
		}
	}
	match := func(flag string) (out []string) {
		if c.DNS.All {
			return []string{""}
		}
		for _, s := range servers {
			out = append(out, fmt.Sprintf("%s %s/%d ", flag, s, s.BitLen()))
		}
		return out
	}
	if len(match("-d")) > 0 {
		i.add("nat", "ISTIO_OUTPUT", "-j ISTIO_OUTPUT_DNS")
	}
	for _, proto := range []string{"tcp", "udp"} {
		for _, d := range match("-d") {
			i.add("nat", "ISTIO_OUTPUT_DNS", "%s-p %s -m %s --dport 53 -j REDIRECT --to-ports 15053", d, proto, proto)
		}
	}
	i.add("raw", "OUTPUT", "-j ISTIO_OUTPUT_DNS")
	for kind, ids := range map[string][]iptables.IDRange{"uid": c.ProxyUIDs, "gid": c.ProxyGIDs} {
		for _, id := range ids { // the order of the two kinds makes no difference
			if i.mended {
				i.add("raw", "ISTIO_OUTPUT_DNS", "-p udp -m udp --dport 53 -m owner --%s-owner %s -j CT --zone-orig 1", kind, id)
				continue
			}
			i.add("raw", "ISTIO_OUTPUT_DNS", "-p udp -m udp --dport 53 -m owner --%s-owner %s -j CT --zone 1", kind, id)
			i.add("raw", "ISTIO_OUTPUT_DNS", "-p udp -m udp --sport 15053 -m owner --%s-owner %s -j CT --zone 2", kind, id)
		}
	}
	if i.mended {
		return
	}
	if len(match("-s")) > 0 {
		i.add("raw", "PREROUTING", "-j ISTIO_INBOUND")
	}
	for _, d := range match("-d") {
		i.add("raw", "ISTIO_OUTPUT_DNS", "%s-p udp -m udp --dport 53 -j CT --zone 2", d)
	}
	for _, s := range match("-s") {
		i.add("raw", "ISTIO_INBOUND", "%s-p udp -m udp --sport 53 -j CT --zone 1", s)
	}
}

func (i *istio) tproxyExtras(loop, self string) {
	mark := fmt.Sprintf("%#x", i.c.TProxyMark)
	const full = "--nfmask 0xffffffff --ctmask 0xffffffff"
	i.add("mangle", "PREROUTING", "-p tcp -m mark --mark %s -j CONNMARK --save-mark %s", mark, full)
	i.add("mangle", "OUTPUT", "-o lo -p tcp -m mark --mark %s -j RETURN", mark)
	for _, id := range i.c.ProxyUIDs {
		i.add("mangle", "OUTPUT", "! -d %s -o lo -p tcp -m owner --uid-owner %s -j MARK --set-xmark 0x53a/0xffffffff", loop, id)
	}
	for _, id := range i.c.ProxyGIDs {
		i.add("mangle", "OUTPUT", "! -d %s -o lo -p tcp -m owner --gid-owner %s -j MARK --set-xmark 0x53a/0xffffffff", loop, id)
	}
	i.add("mangle", "OUTPUT", "-p tcp -m connmark --mark %s -j CONNMARK --restore-mark %s", mark, full)
	i.at("mangle", "ISTIO_INBOUND", 0, "-p tcp -m mark --mark %s -j RETURN", mark)
	i.at("mangle", "ISTIO_INBOUND", 1, "-s %s -i lo -p tcp -j RETURN", self)
	i.at("mangle", "ISTIO_INBOUND", 2, "-i lo -p tcp -m mark ! --mark 0x53a -j RETURN")
}
