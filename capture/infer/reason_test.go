package infer_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/cmd/istio-init/report"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// An expectedReason is why a configuration has a rule: a rule of one of the chains that
// matches the expression, where the configuration says so, is there for the
// reason. In both, {id}, {link}, {net} and {port} are the values of the rule: an id or a
// range of ids, an interface, a prefix, and a port or a range.
type expectedReason struct {
	chains, rule, reason string
	when                 func(c capture.Config, v ruleValues) bool // nil: always
}

// ruleValues are the values of a rule.
type ruleValues struct {
	id, link, net, port string
	loopback            netip.Prefix // that of the family
}

const (
	selfMark  = "the proxy connects to its own pod IP: marked for the inbound port"
	selfCall  = "the proxy connects to its own pod IP: redirected to the inbound port"
	toApp     = "the proxy connects to the app"
	ownPod    = "the app connects to its own pod IP"
	tcpIn     = "inbound TCP enters ISTIO_INBOUND"
	tcpOut    = "outbound TCP enters ISTIO_OUTPUT"
	invalid   = "packets in state INVALID are dropped (--drop-invalid)"
	zones     = "DNS queries get conntrack zones of their own (--redirect-dns)"
	vmPackets = "connections from virtual interface {link} (-k) are not inbound"
	vmCalls   = "connections from virtual interface {link} (-k) are outbound: "
)

// The rules of nat and mangle are for the same reasons in chains of ours and, as Istio
// has some, in built-in ones.
var expectedReasons = []expectedReason{
	// Into our chains.
	{`nat PREROUTING, mangle PREROUTING`, `-p tcp -j ISTIO_INBOUND`, tcpIn, nil},
	{`nat OUTPUT`, `-j ISTIO_OUTPUT`, "outbound packets enter ISTIO_OUTPUT", nil},
	{`nat OUTPUT, mangle OUTPUT`, `-p tcp -j ISTIO_OUTPUT`, tcpOut, nil},
	{`raw PREROUTING`, `-j ISTIO_INBOUND`, zones, captureDNS},
	{`raw OUTPUT`, `-j ISTIO_OUTPUT_DNS`, zones, captureDNS},
	{`mangle PREROUTING`, `-m conntrack --ctstate INVALID -j ISTIO_DROP`, invalid, dropsInvalid},
	{`mangle ISTIO_DROP`, `-j DROP`, invalid, dropsInvalid},

	// Interfaces.
	{`nat ISTIO_INBOUND, nat ISTIO_DROP, nat PREROUTING, mangle ISTIO_INBOUND, mangle ISTIO_DROP, mangle PREROUTING`, `-i {link} -j RETURN`, "interface {link} is excluded by -c", excludedLinks},
	{`nat ISTIO_OUTPUT, nat OUTPUT, mangle ISTIO_OUTPUT, mangle OUTPUT`, `-o {link} -j RETURN`, "interface {link} is excluded by -c", excludedLinks},
	{`nat ISTIO_INBOUND, nat PREROUTING, mangle ISTIO_INBOUND, mangle PREROUTING`, `-i {link} -j RETURN`, vmPackets, virtualLinks},
	{`nat ISTIO_INBOUND, nat PREROUTING`, `-d {net} -i {link} -j ISTIO_REDIRECT`, vmCalls + "{net} is included by -i", virtualToIncluded},
	{`nat ISTIO_INBOUND, nat PREROUTING`, `-i {link} -j ISTIO_REDIRECT`, vmCalls + "every destination is included by -i", virtualToAll},
	{`nat ISTIO_INBOUND, nat PREROUTING`, `-i {link} -j ISTIO_REDIRECT`, vmCalls + "{any} is included by -i", virtualToAll},
	{`mangle ISTIO_INBOUND`, `-d {net} -i {link} -j RETURN`, vmCalls + "captured in nat", virtualToIncluded},
	{`mangle ISTIO_INBOUND`, `-i {link} -j RETURN`, vmCalls + "captured in nat", virtualToAll},

	// Inbound ports.
	{`nat ISTIO_INBOUND, mangle ISTIO_INBOUND`, `-p tcp -m tcp --dport {port} -j RETURN`, "port {port} is the proxy's tunnel port (-e)", tunnel},
	{`nat ISTIO_INBOUND`, `-p tcp -m tcp --dport {port} -j RETURN`, "port {port} is excluded by -d", tunnelOrExcluded},
	{`nat ISTIO_INBOUND`, `-p tcp -m tcp --dport 22 -j RETURN`, "Istio 1.0 never captured port 22", func(c capture.Config, _ ruleValues) bool { return c.Generation == capture.Istio1_0 }},
	{`nat ISTIO_INBOUND, mangle ISTIO_INBOUND`, `-p tcp -m tcp --dport {port} -j RETURN`, "{ports are} excluded by -d", ports(func(c capture.Config) []iptables.PortRange { return c.InboundPorts.Except })},
	{`nat ISTIO_INBOUND`, `-p tcp -m tcp --dport {port} -j ISTIO_IN_REDIRECT`, "{ports are} included by -b", ports(func(c capture.Config) []iptables.PortRange { return c.InboundPorts.Only })},
	{`mangle ISTIO_INBOUND`, `-p tcp -m tcp --dport {port} -j ISTIO_TPROXY`, "{ports are} included by -b", ports(func(c capture.Config) []iptables.PortRange { return c.InboundPorts.Only })},
	{`nat ISTIO_INBOUND`, `-p tcp -j ISTIO_IN_REDIRECT`, "every port is included by -b", allPorts},
	{`mangle ISTIO_INBOUND`, `-p tcp -j ISTIO_TPROXY`, "every port is included by -b", allPorts},
	{`mangle ISTIO_INBOUND`, `-p tcp( -m tcp)?( --dport {port})?( ! --tcp-flags FIN,SYN,RST,ACK SYN)? -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT`, "packets of established connections enter ISTIO_DIVERT", nil},

	// Ports of the proxy.
	{`nat ISTIO_IN_REDIRECT`, `-p tcp -j REDIRECT --to-ports {port}`, "to the proxy's inbound port {port}", isPort(func(c capture.Config) uint16 { return c.InboundPort })},
	{`nat ISTIO_REDIRECT`, `-p tcp -j REDIRECT --to-ports {port}`, "to the proxy's outbound port {port}", isPort(func(c capture.Config) uint16 { return c.ProxyPort })},
	{`mangle ISTIO_TPROXY`, `! -d {net} -p tcp -j TPROXY --on-port {port} --on-ip (0\.0\.0\.0|::) --tproxy-mark \S+`, "to the proxy's inbound port {port}, destination unchanged", isPort(func(c capture.Config) uint16 { return c.InboundPort })},

	// Marks.
	{`mangle ISTIO_DIVERT`, `-j MARK --set-xmark \S+`, "the mark has policy routing deliver the packet locally", nil},
	{`mangle ISTIO_DIVERT`, `-j ACCEPT`, "the packet goes to the socket of its connection", nil},
	{`mangle ISTIO_INBOUND, mangle PREROUTING`, `-p tcp -m mark --mark \S+ -j CONNMARK --save-mark .*`, "the proxy connects to the app: the connection gets the mark, for the answer", nil},
	{`mangle ISTIO_INBOUND`, `-p tcp -m mark --mark \S+ -j RETURN`, toApp, nil},
	{`mangle ISTIO_INBOUND`, `-i lo -p tcp -m mark ! --mark 0x53a -j RETURN`, ownPod, nil},
	{`mangle ISTIO_OUTPUT, mangle OUTPUT`, `-o lo -p tcp -m mark --mark \S+ -j RETURN`, toApp, nil},
	{`mangle ISTIO_OUTPUT, mangle OUTPUT`, `! -d {net} -o lo -p tcp -m owner --uid-owner {id} -j MARK --set-xmark 0x53a/0xffffffff`, selfMark, proxyUser},
	{`mangle ISTIO_OUTPUT, mangle OUTPUT`, `! -d {net} -o lo -p tcp -m owner --gid-owner {id} -j MARK --set-xmark 0x53a/0xffffffff`, selfMark, proxyGroup},
	{`mangle ISTIO_OUTPUT, mangle OUTPUT`, `-p tcp -m connmark --mark \S+ -j CONNMARK --restore-mark .*`, "the app answers the proxy: the packet gets the mark of the connection", nil},

	// Who calls.
	{`nat ISTIO_OUTPUT`, `-s {net} -o lo -j RETURN`, toApp, nil},
	{`mangle ISTIO_INBOUND`, `-s {net} -i lo -p tcp -j RETURN`, toApp, nil},
	{`nat ISTIO_OUTPUT`, `! -d {net} -o lo( -p tcp -m (tcp ! --dport|multiport ! --dports) \S+)? -m owner --uid-owner {id} -j ISTIO_IN_REDIRECT`, selfCall, proxyUser},
	{`nat ISTIO_OUTPUT`, `! -d {net} -o lo( -p tcp -m (tcp ! --dport|multiport ! --dports) \S+)? -m owner --gid-owner {id} -j ISTIO_IN_REDIRECT`, selfCall, proxyGroup},
	{`nat ISTIO_OUTPUT`, `! -d {net} -o lo -j ISTIO_REDIRECT`, "the pod connects to its own IP: redirected to the outbound port", func(c capture.Config, _ ruleValues) bool { return c.Generation == capture.Istio1_0 }},
	{`nat ISTIO_OUTPUT`, `-o lo( -p tcp -m tcp ! --dport 53)?( -m owner ! --[ug]id-owner \S+)* -j RETURN`, ownPod, nil},
	{`nat ISTIO_OUTPUT`, `-m owner --uid-owner {id} -j RETURN`, "user {id} is the proxy", proxyUser},
	{`nat ISTIO_OUTPUT`, `-m owner --gid-owner {id} -j RETURN`, "group {id} is the proxy", proxyGroup},
	{`nat ISTIO_OUTPUT`, `-m owner --gid-owner {id} -j RETURN`, "group {id} is the proxy", excluded1_0},
	{`nat ISTIO_OUTPUT`, `-m owner --gid-owner {id} -j RETURN`, "group {id} is excluded by ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", excludedGroup},
	{`nat ISTIO_OUTPUT`, `(-m owner ! --gid-owner \S+ )+-j RETURN`, "the group is not in ISTIO_OUTBOUND_OWNER_GROUPS", nil},

	// Where to.
	{`nat ISTIO_OUTPUT`, `-p (tcp|udp) -m (tcp|udp) --dport {port} -j RETURN`, "{ports are} excluded by -o", ports(func(c capture.Config) []iptables.PortRange { return c.OutboundExcludePorts })},
	{`nat ISTIO_OUTPUT`, `-p tcp -m tcp --dport {port} -j ISTIO_REDIRECT`, "{ports are} included by -q", ports(func(c capture.Config) []iptables.PortRange { return c.OutboundPorts })},
	{`nat ISTIO_OUTPUT`, `-d {net} -j RETURN`, "{net} is loopback", func(_ capture.Config, v ruleValues) bool { return v.net == v.loopback.String() }},
	{`nat ISTIO_OUTPUT`, `-d {net} -j RETURN`, "{net} is excluded by -x", nets(func(c capture.Config) []netip.Prefix { return c.OutboundPrefixes.Except })},
	{`nat ISTIO_OUTPUT`, `-j RETURN`, "{any} is excluded by -x", toNowhere},
	{`nat ISTIO_OUTPUT`, `-j RETURN`, "every destination is excluded by -x", toNowhere},
	{`nat ISTIO_OUTPUT`, `-j RETURN`, "the destination is not included by -i", func(c capture.Config, _ ruleValues) bool {
		return c.Generation != capture.Current && !c.OutboundPrefixes.All && len(c.OutboundPrefixes.Only) > 0
	}},
	{`nat ISTIO_OUTPUT`, `-d {net} -j ISTIO_REDIRECT`, "{net} is included by -i", nets(func(c capture.Config) []netip.Prefix { return c.OutboundPrefixes.Only })},
	{`nat ISTIO_OUTPUT`, `-j ISTIO_REDIRECT`, "every destination is included by -i", toEverywhere},
	{`nat ISTIO_OUTPUT`, `-j ISTIO_REDIRECT`, "{any} is included by -i", toEverywhere},

	// DNS.
	{`nat ISTIO_OUTPUT`, `-j ISTIO_OUTPUT_DNS`, "DNS queries are captured in ISTIO_OUTPUT_DNS (--redirect-dns)", captureDNS},
	{`nat ISTIO_OUTPUT_DNS`, `-d {net} -p (tcp|udp) -m (tcp|udp) --dport 53 -j REDIRECT --to-ports 15053`, "DNS queries to {addr} go to the agent (--redirect-dns)", dnsServer},
	{`nat ISTIO_OUTPUT_DNS`, `-p (tcp|udp) -m (tcp|udp) --dport 53 -j REDIRECT --to-ports 15053`, "all DNS queries go to the agent (--capture-all-dns)", allDNS},
	{`raw ISTIO_INBOUND`, `(-s {net} )?-p udp -m udp --sport 53 -j CT --zone 1`, "answers of DNS servers are in the zone of the proxy", captureDNS},
	{`raw ISTIO_OUTPUT_DNS`, `(-d {net} )?-p udp -m udp --dport 53 -j CT --zone 2`, "DNS queries of the app are in the zone of the app", captureDNS},
	{`raw ISTIO_OUTPUT_DNS`, `-p udp -m udp --dport 53 -m owner --[ug]id-owner {id} -j CT --zone(-orig)? 1`, "DNS queries of the proxy are in a zone of their own", captureDNS},
	{`raw ISTIO_OUTPUT_DNS`, `-p udp -m udp --sport 15053 -m owner --[ug]id-owner {id} -j CT --zone 2`, "answers of the agent are in the zone of the app", captureDNS},
}

func captureDNS(c capture.Config, _ ruleValues) bool   { return c.DNS.Captures() }
func allDNS(c capture.Config, _ ruleValues) bool       { return c.DNS.All }
func dropsInvalid(c capture.Config, _ ruleValues) bool { return c.DropInvalid }
func allPorts(c capture.Config, _ ruleValues) bool     { return c.InboundPorts.All }

func dnsServer(c capture.Config, v ruleValues) bool {
	return slices.ContainsFunc(c.DNS.Servers, func(a netip.Addr) bool { return netip.PrefixFrom(a, a.BitLen()).String() == v.net })
}

func tunnel(c capture.Config, v ruleValues) bool {
	return c.Generation != capture.Istio1_0 && v.port == strconv.Itoa(int(c.TunnelPort))
}

// tunnelOrExcluded is about 1.15, where another port than 15008 may be of -d by its rule.
func tunnelOrExcluded(c capture.Config, v ruleValues) bool {
	return tunnel(c, v) && c.Generation == capture.Istio1_15 && c.TunnelPort != capture.DefaultTunnelPort
}

func excludedLinks(c capture.Config, v ruleValues) bool {
	return slices.Contains(c.ExcludeInterfaces, iptables.Interface(v.link))
}

func virtualLinks(c capture.Config, v ruleValues) bool {
	return slices.Contains(c.VirtualInterfaces, iptables.Interface(v.link))
}

func virtualToIncluded(c capture.Config, v ruleValues) bool {
	return virtualLinks(c, v) && nets(func(c capture.Config) []netip.Prefix { return c.OutboundPrefixes.Only })(c, v)
}

func virtualToAll(c capture.Config, v ruleValues) bool {
	return virtualLinks(c, v) && toEverywhere(c, v)
}

func toEverywhere(c capture.Config, v ruleValues) bool {
	return c.OutboundPrefixes.All || anyNet(func(c capture.Config) []netip.Prefix { return c.OutboundPrefixes.Only })(c, v)
}

func toNowhere(c capture.Config, v ruleValues) bool {
	return anyNet(func(c capture.Config) []netip.Prefix { return c.OutboundPrefixes.Except })(c, v)
}

func proxyUser(c capture.Config, v ruleValues) bool {
	return ids(func(c capture.Config) []iptables.IDRange { return c.ProxyUIDs })(c, v)
}

func proxyGroup(c capture.Config, v ruleValues) bool {
	return ids(func(c capture.Config) []iptables.IDRange { return c.ProxyGIDs })(c, v)
}

func excludedGroup(c capture.Config, v ruleValues) bool {
	return ids(func(c capture.Config) []iptables.IDRange { return c.OwnerGroups.Except })(c, v)
}

// excluded1_0 is about a generation that knew no groups but those of the proxy. Where it
// is given others all the same, its rules do not tell them apart.
func excluded1_0(c capture.Config, v ruleValues) bool {
	return c.Generation == capture.Istio1_0 && excludedGroup(c, v)
}

func ids(list func(capture.Config) []iptables.IDRange) func(capture.Config, ruleValues) bool {
	return func(c capture.Config, v ruleValues) bool {
		return slices.ContainsFunc(list(c), func(id iptables.IDRange) bool { return id.String() == v.id })
	}
}

func ports(list func(capture.Config) []iptables.PortRange) func(capture.Config, ruleValues) bool {
	return func(c capture.Config, v ruleValues) bool {
		return slices.ContainsFunc(list(c), func(p iptables.PortRange) bool { return p.String() == v.port })
	}
}

func isPort(port func(capture.Config) uint16) func(capture.Config, ruleValues) bool {
	return func(c capture.Config, v ruleValues) bool { return strconv.Itoa(int(port(c))) == v.port }
}

func nets(list func(capture.Config) []netip.Prefix) func(capture.Config, ruleValues) bool {
	return func(c capture.Config, v ruleValues) bool {
		return slices.ContainsFunc(list(c), func(p netip.Prefix) bool { return p.Masked().String() == v.net })
	}
}

// anyNet reports whether a list has the prefix of every address of the family.
func anyNet(list func(capture.Config) []netip.Prefix) func(capture.Config, ruleValues) bool {
	return func(c capture.Config, v ruleValues) bool {
		return slices.ContainsFunc(list(c), func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is4() == v.loopback.Addr().Is4() })
	}
}

// A ruleExpression is the expression of an expected reason, for the rules of a chain.
type ruleExpression struct {
	expectedReason
	*regexp.Regexp
}

// expressions are those of each chain.
var expressions = sync.OnceValue(func() map[string][]ruleExpression {
	values := strings.NewReplacer("{id}", `(?P<id>\d+(?:-\d+)?)`, "{link}", `(?P<link>[a-z][a-z0-9+]+)`, "{net}", `(?P<net>[0-9a-f:.]+/\d+)`, "{port}", `(?P<port>\d+(?::\d+)?)`)
	all := map[string][]ruleExpression{}
	for _, e := range expectedReasons {
		for chain := range strings.SplitSeq(e.chains, ", ") {
			all[chain] = append(all[chain], ruleExpression{e, regexp.MustCompile("^" + values.Replace(e.rule) + "$")})
		}
	}
	return all
})

// reasonsFor are the reasons for which a configuration has a rule: one, or where the
// same rule is asked for twice, several.
func reasonsFor(c capture.Config, f inet.Family, table, chain string, r iptables.Rule) (reasons []string) {
	text := r.Text(f)
	for _, e := range expressions()[table+" "+chain] {
		m := e.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		value := func(name string) string {
			if i := e.SubexpIndex(name); i >= 0 {
				return m[i]
			}
			return ""
		}
		v := ruleValues{id: value("id"), link: value("link"), net: value("net"), port: value("port"), loopback: loopback(c, f)}
		if e.when != nil && !e.when(c, v) {
			continue
		}
		ports := "port " + v.port + " is"
		if strings.Contains(v.port, ":") {
			ports = "ports " + v.port + " are"
		}
		addr, _, _ := strings.Cut(v.net, "/")
		if r.Dst.Set {
			v.net = r.Dst.Val.String() // as the user spelled it
		}
		reasons = append(reasons, strings.NewReplacer("{ports are}", ports, "{port}", v.port, "{id}", v.id, "{link}", v.link, "{net}", v.net,
			"{addr}", addr, "{any}", netip.PrefixFrom(f.Any(), 0).String()).Replace(e.reason))
	}
	return reasons
}

// everyRuleHasItsReason compares the reason of each rule with that for which the
// configuration has it.
func everyRuleHasItsReason(t *testing.T, c capture.Config, r *infer.Inference) {
	t.Helper()
	f := r.Rules.Family
	for _, table := range r.Rules.Tables {
		for _, chain := range table.Chains {
			for _, rule := range chain.Rules {
				got := report.Reason(rule)
				if want := reasonsFor(c, f, table.Name, chain.Name, rule); !slices.Contains(want, got) {
					t.Fatalf("config %+v\n%s %s %s: the reason is %q, want %q in\n%s", c, table.Name, chain.Name, rule.Text(f), got, want, r.Rules)
				}
			}
		}
	}
}

// loopback is the prefix that counts as this machine.
func loopback(c capture.Config, f inet.Family) netip.Prefix {
	if f == inet.IPv4 && c.LoopbackV4.IsValid() {
		return c.LoopbackV4.Masked()
	}
	return netip.PrefixFrom(f.Localhost(), f.Localhost().BitLen())
}
