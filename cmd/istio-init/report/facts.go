package report

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
)

// A Fact is one property of a configuration.
type Fact struct{ Label, Text string }

// Facts says what a configuration captures, the most important first.
func Facts(c capture.Config) []Fact {
	if c.Mode == capture.None {
		return []Fact{{"mode", "NONE: nothing is captured"}}
	}
	facts := []Fact{
		{"mode", c.Mode.String()},
		{"inbound", inboundFact(c)},
		{"outbound", outboundFact(c)},
	}
	add := func(label, text string) {
		if text != "" {
			facts = append(facts, Fact{label, text})
		}
	}
	add("excluded", joinFacts(
		listFact("port %s out (-o)", "ports %s out (-o)", portTexts(c.OutboundExcludePorts)),
		listFact("destination %s (-x)", "destinations %s (-x)", texts(c.OutboundPrefixes.Except)),
		listFact("interface %s (-c)", "interfaces %s (-c)", texts(c.ExcludeInterfaces)),
	))
	add("processes", groupsFact(c))
	add("virtual", listFact("interface %s (-k)", "interfaces %s (-k)", texts(c.VirtualInterfaces)))
	facts = append(facts, Fact{"proxy", proxyFact(c)})
	facts = append(facts, Fact{"DNS queries", dnsFact(c)})
	if c.DropInvalid {
		add("dropped", "packets in state INVALID (--drop-invalid)")
	}
	if c.LoopbackV4.IsValid() && c.LoopbackV4.Bits() < 32 {
		add("loopback", c.LoopbackV4.String())
	}
	return facts
}

// proxyFact names the ids and the ports of the proxy. That of the tunnel is omitted if there is none.
func proxyFact(c capture.Config) string {
	text := fmt.Sprintf("uid %s, gid %s; ports %s out, %s in",
		known(texts(c.ProxyUIDs)), known(texts(c.ProxyGIDs)), portOrNone(c.ProxyPort), portOrNone(c.InboundPort))
	if c.TunnelPort != 0 && c.Generation != capture.Istio1_0 {
		text += fmt.Sprintf(", %d tunnels", c.TunnelPort)
	}
	return text
}

// known joins values that were inferred from rules; none may have been.
func known(list []string) string {
	if len(list) == 0 {
		return "unknown"
	}
	return strings.Join(list, ",")
}

func portOrNone(port uint16) string {
	if port == 0 {
		return "unknown"
	}
	return strconv.Itoa(int(port))
}

func inboundFact(c capture.Config) string {
	switch {
	case c.InboundPorts.Empty():
		return "nothing (-b names no port)"
	case !c.InboundPorts.All:
		return listFact("TCP port %s (-b)", "TCP ports %s (-b)", portTexts(c.InboundPorts.Only))
	}
	ssh := ""
	if c.Generation == capture.Istio1_0 {
		ssh = fmt.Sprintf("but not %d, which Istio 1.0 never captures", capture.SSHPort)
	}
	return joinFacts("every TCP port (-b '*')", ssh, listFact("but not %s (-d)", "but not %s (-d)", portTexts(c.InboundPorts.Except)))
}

func outboundFact(c capture.Config) string {
	switch {
	case c.OutboundPrefixes.All:
		return "TCP to every destination (-i '*')"
	case c.OutboundPrefixes.Empty() && len(c.OutboundPorts) == 0:
		return "nothing (-i and -q name nothing)"
	}
	return joinFacts(listFact("TCP to %s (-i)", "TCP to %s (-i)", texts(c.OutboundPrefixes.Only)),
		listFact("TCP port %s to every destination (-q)", "TCP ports %s to every destination (-q)", portTexts(c.OutboundPorts)))
}

func groupsFact(c capture.Config) string {
	switch g := c.OwnerGroups; {
	case g.All:
		return listFact("all but those of group %s", "all but those of groups %s", texts(g.Except))
	case len(g.Only) == 0:
		return "none: ISTIO_OUTBOUND_OWNER_GROUPS names no group"
	default:
		return listFact("those of group %s", "those of groups %s", texts(g.Only))
	}
}

func dnsFact(c capture.Config) string {
	switch {
	case c.DNS.All:
		return "all are captured (--capture-all-dns)"
	case len(c.DNS.Servers) > 0:
		return listFact("to %s are captured (--redirect-dns)", "to %s are captured (--redirect-dns)", texts(c.DNS.Servers))
	}
	return "not captured"
}

// maxListed limits the elements of a list that are named.
const maxListed = 12

// listFact formats the elements of a list, with another format for one than for many; ""
// for none.
func listFact(one, many string, list []string) string {
	switch n := len(list); {
	case n == 0:
		return ""
	case n == 1:
		return fmt.Sprintf(one, list[0])
	case n > maxListed:
		return fmt.Sprintf(many, fmt.Sprintf("%s and %d more", strings.Join(list[:maxListed], ", "), n-maxListed))
	default:
		return fmt.Sprintf(many, strings.Join(list, ", "))
	}
}

func joinFacts(facts ...string) string {
	var said []string
	for _, f := range facts {
		if f != "" {
			said = append(said, f)
		}
	}
	return strings.Join(said, "; ")
}

// portTexts formats port ranges as options take them.
func portTexts(ports []iptables.PortRange) []string {
	out := texts(ports)
	for i := range out {
		out[i] = strings.Replace(out[i], ":", "-", 1)
	}
	return out
}

// texts formats values.
func texts[T iptables.PortRange | iptables.IDRange | iptables.Interface | netip.Prefix | netip.Addr](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = fmt.Sprint(v)
	}
	return out
}
