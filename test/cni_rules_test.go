package test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/size"
)

// newCNIPod returns a namespace with an address of each family, which will have its rules in a
// backend: the plugin uses the variant that has rules.
func newCNIPod(t *testing.T, b backend) *site {
	t.Helper()
	s := newSite(t)
	s.sh("ip addr add 10.0.0.9/32 dev lo; ip addr add 2001:db8::9/128 dev lo nodad")
	if b == xtables.Legacy {
		for _, f := range inet.Families {
			s.restore(xtables.Legacy, f, "*filter\n-A INPUT -p udp -m udp --dport 9 -j DROP\nCOMMIT\n")
		}
	}
	return s
}

// cniBackend returns the keys of an entry by which rules are made in a backend.
func cniBackend(b backend, defaults object) object {
	if defaults == nil {
		defaults = object{}
	}
	defaults["native-nftables"] = b == native
	return object{"defaults": defaults}
}

// injectedSets are annotations, and the flags for the same.
var injectedSets = []struct {
	name        string
	annotations map[string]string
	defaults    object
	flags       string // besides those of a pod without more annotations
}{
	{name: "plain", annotations: waits()},
	{
		name: "all", annotations: waits(
			"traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/8,fd00::/8", "traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.1.0.0/16",
			"traffic.sidecar.istio.io/includeInboundPorts", "*", "traffic.sidecar.istio.io/excludeInboundPorts", "9090,9091,15020",
			"traffic.sidecar.istio.io/includeOutboundPorts", "5432", "traffic.sidecar.istio.io/excludeOutboundPorts", "3306,27017",
			"istio.io/reroute-virtual-interfaces", "net1", "traffic.sidecar.istio.io/excludeInterfaces", "eth1",
			"proxy.istio.io/config", `proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true", ISTIO_DUAL_STACK: "true", INVALID_DROP: "true"}`,
			"proxy.istio.io/overrides", `{"containers":[{"name":"istio-proxy","securityContext":{"runAsUser":2000,"runAsGroup":2001}}]}`,
		),
		flags: "-i 10.0.0.0/8,fd00::/8 -x 10.1.0.0/16 -d 9090,9091,15020,15021,15090 -q 5432 -o 3306,27017 -k net1 -c eth1 --redirect-dns --capture-all-dns --dual-stack --drop-invalid -u 2000 -g 2001",
	},
	{
		name: "tproxy", annotations: waits("sidecar.istio.io/interceptionMode", "TPROXY"), defaults: object{"dual_stack": true, "proxy_uid": 2000},
		flags: "-m TPROXY --dual-stack",
	},
	{name: "none-inbound", annotations: waits("traffic.sidecar.istio.io/includeInboundPorts", ""), flags: "--istio-inbound-ports="},
	{name: "out-ranges", annotations: waits("traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.1.0.0/16"), flags: "-x 10.1.0.0/16"},
	{name: "in-ports", annotations: waits("traffic.sidecar.istio.io/includeInboundPorts", "80,443"), flags: "-b 80,443"},
	{name: "out-ports", annotations: waits("traffic.sidecar.istio.io/includeOutboundIPRanges", "", "traffic.sidecar.istio.io/includeOutboundPorts", "5432"), flags: "--istio-service-cidr= -q 5432"},
	{name: "dns", annotations: waits(), defaults: object{"redirect-dns": true}, flags: "--redirect-dns --capture-all-dns"},
}

// TestCNIMakesTheRulesOfTheInitContainer compares dumps after ADD and after istio-init with flags.
func TestCNIMakesTheRulesOfTheInitContainer(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		reference, s := newCNIPod(t, b), newCNIPod(t, b)
		for i, set := range injectedSets {
			if i > 3 && !size.Stress() {
				break
			}
			line := strings.Fields("apply -m REDIRECT -i * -b * -d 15020,15021,15090 -o 15020 -u 1337 -g 1337 " + set.flags)
			reference.exits(0, in(b, line)...)
			call := cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(set.annotations, cniBackend(b, set.defaults))}
			a := call.succeeds(t)
			if diff := cmp.Diff(reference.see().String(), s.see().String()); diff != "" {
				t.Errorf("%s: not the rules of istio-init %q (-want +got):\n%s\n%s", set.name, line, diff, a)
			}
			call.command = cniCheck
			call.succeeds(t)
		}
	})
}

// annotated are annotations that are one flag each, with a value; all take an empty one too.
var annotated = []struct{ key, flag, value string }{
	{"traffic.sidecar.istio.io/includeOutboundIPRanges", "-i", "10.0.0.0/8,fd00::/8"},
	{"traffic.sidecar.istio.io/excludeOutboundIPRanges", "-x", "10.1.0.0/16,2001:db8::/32"},
	{"traffic.sidecar.istio.io/includeInboundPorts", "-b", "80,443"},
	{"traffic.sidecar.istio.io/includeOutboundPorts", "-q", "5432"},
	{"traffic.sidecar.istio.io/excludeOutboundPorts", "-o", "3306,27017"},
	{"traffic.sidecar.istio.io/excludeInterfaces", "-c", "eth1"},
	{"istio.io/reroute-virtual-interfaces", "-k", "net1,net2"},
	{"sidecar.istio.io/interceptionMode", "-m", "TPROXY"},
}

// TestCNIAnnotationsInPairs compares dumps for each pair of annotations, with values and without;
// in make test some.
func TestCNIAnnotationsInPairs(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		reference, s := newCNIPod(t, b), newCNIPod(t, b)
		n := 0
		for i, first := range annotated {
			for _, second := range annotated[i:] { // or the first one alone
				for _, empty := range []bool{false, true} {
					if n++; !size.Stress() && n%12 != 0 {
						continue
					}
					one, two := first.value, second.value
					if empty {
						two = ""
					}
					line := append(strings.Fields("apply -m REDIRECT -i * -b * -d 15020,15021,15090 -o 15020 -u 1337 -g 1337"), first.flag, one, second.flag, two)
					reference.exits(0, in(b, line)...)
					a := cniCall{command: cniAdd, netns: s.Path(), entry: cniEntry(waits(first.key, one, second.key, two), cniBackend(b, nil))}.succeeds(t)
					if diff := cmp.Diff(reference.see().String(), s.see().String()); diff != "" {
						t.Errorf("not the rules of istio-init %q (-want +got):\n%s\n%s", line, diff, a)
					}
				}
			}
		}
	})
}

// TestCNICheckNamesTheChangedRule removes a rule after an ADD.
func TestCNICheckNamesTheChangedRule(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newCNIPod(t, b)
		call := cniCall{command: cniCheck, netns: s.Path(), entry: cniEntry(waits(), cniBackend(b, nil))}
		call.fails(t, cniDrift, "is missing")
		call.command = cniAdd
		call.succeeds(t)
		call.command = cniCheck
		call.succeeds(t)
		if b == native {
			s.sh("nft flush chain ip istio-init nat-ISTIO_IN_REDIRECT")
		} else {
			s.sh("iptables-" + b.String() + " -t nat -F ISTIO_IN_REDIRECT")
		}
		changed := s.see().String()
		call.fails(t, cniDrift, `the rules have changed: ipv4: rule "-p tcp -j REDIRECT --to-ports 15006" of nat ISTIO_IN_REDIRECT is missing`)
		if diff := cmp.Diff(changed, s.see().String()); diff != "" {
			t.Errorf("CHECK changed something (-before +after):\n%s", diff)
		}
	})
}
