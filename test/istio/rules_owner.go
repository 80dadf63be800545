package istio

import (
	"fmt"
	"slices"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// owners1_0 has no rule for connections to the own pod: all go out through the proxy.
func (i *istio) owners1_0(loop string) {
	i.add("nat", "ISTIO_OUTPUT", "! -d %s -o lo -j ISTIO_REDIRECT", loop)
	for _, id := range i.c.ProxyUIDs {
		i.add("nat", "ISTIO_OUTPUT", "-m owner --uid-owner %s -j RETURN", id)
	}
	for _, id := range i.c.ProxyGIDs {
		i.add("nat", "ISTIO_OUTPUT", "-m owner --gid-owner %s -j RETURN", id)
	}
}

func (i *istio) owners(kind string, ids []iptables.IDRange, loop string) {
	dns := i.c.DNS.Captures()
	for n, id := range ids {
		except := fmt.Sprintf("-p tcp -m tcp ! --dport %d ", i.c.TunnelPort)
		asked := dns && (kind == "uid" || i.mended)
		switch {
		case i.c.Generation == capture.Istio1_15 && asked: // 1.9 to 1.17
			except = "-p tcp -m tcp ! --dport 53 "
		case i.c.Generation == capture.Istio1_15:
			except = ""
		case asked:
			except = fmt.Sprintf("-p tcp -m multiport ! --dports 53,%d ", i.c.TunnelPort)
		}
		self := fmt.Sprintf("! -d %s -o lo %s-m owner --%s-owner %s -j ISTIO_IN_REDIRECT", loop, except, kind, id)
		if i.mended && n > 0 { // self calls of all ids come before the first that ends
			i.at("nat", "ISTIO_OUTPUT", slices.IndexFunc(i.tables["nat"]["ISTIO_OUTPUT"], func(r string) bool {
				return strings.Contains(r, kind+"-owner") && strings.HasSuffix(r, "-j ISTIO_IN_REDIRECT")
			}), "%s", self)
		} else {
			i.add("nat", "ISTIO_OUTPUT", "%s", self)
		}
		if !i.includesLoopback() && (!i.mended || len(ids) == 1) {
			port := ""
			if dns {
				port = "-p tcp -m tcp ! --dport 53 "
			}
			i.add("nat", "ISTIO_OUTPUT", "-o lo %s-m owner ! --%s-owner %s -j RETURN", port, kind, id)
		}
		i.add("nat", "ISTIO_OUTPUT", "-m owner --%s-owner %s -j RETURN", kind, id)
	}
	if !i.includesLoopback() && i.mended && len(ids) > 1 {
		port := ""
		if dns {
			port = "-p tcp -m tcp ! --dport 53 "
		}
		var others strings.Builder
		for _, id := range ids {
			fmt.Fprintf(&others, "-m owner ! --%s-owner %s ", kind, id)
		}
		i.add("nat", "ISTIO_OUTPUT", "-o lo %s%s-j RETURN", port, others.String())
	}
}

func (i *istio) groups() {
	g := i.c.OwnerGroups
	if g.All {
		for _, id := range g.Except {
			i.add("nat", "ISTIO_OUTPUT", "-m owner --gid-owner %s -j RETURN", id)
		}
		return
	}
	var none strings.Builder
	for _, id := range g.Only {
		fmt.Fprintf(&none, "-m owner ! --gid-owner %s ", id)
	}
	i.add("nat", "ISTIO_OUTPUT", "%s-j RETURN", none.String())
}
