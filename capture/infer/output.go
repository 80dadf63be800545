package infer

import (
	"fmt"
	"net/netip"
	"slices"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// A reader understands rules in the order in which they stand, one chain after
// the other, and collects the configuration they come from.
type reader struct {
	family inet.Family
	c      *capture.Config
	dns    bool // look-ups are captured
	istio  istioMarks

	chain  string // "table chain" that is read
	tunnel bool   // the rule for the tunnel was met in the chain
	leaves int    // rules of the chain that leave an interface alone
	left   int    // how many of them were met

	proxied  bool // nat ISTIO_OUTPUT: the rules for the proxy's own traffic were met
	loopback bool // ... and the one for localhost
	captured bool // ... and one that captures
	selfs    owners
}

// owners are the ids that are known as the proxy's by its calls to its own pod.
type owners struct{ uids, gids []iptables.IDRange }

// forms say for each of our chains what its rules mean, by their form.
var forms = map[string]func(*reader, string, iptables.Rule) string{
	"nat " + capture.ChainOutput:      (*reader).natOutput,
	"nat " + capture.ChainOutputApp:   (*reader).natOutput,
	"nat " + capture.ChainExclude:     (*reader).natOutput,
	"nat " + capture.ChainInclude:     (*reader).natOutput,
	"nat " + capture.ChainOutputGroup: (*reader).natOutput,
	"nat " + capture.ChainOutputDNS:   (*reader).lookups,
	"nat " + capture.ChainInbound:     (*reader).natInbound,
	"nat " + capture.ChainInRedirect:  (*reader).redirect,
	"nat " + capture.ChainRedirect:    (*reader).redirect,
	"mangle " + capture.ChainInbound:  (*reader).mangleInbound,
	"mangle " + capture.ChainDivert:   (*reader).divert,
	"mangle " + capture.ChainTProxy:   (*reader).tproxy,
	"mangle " + capture.ChainOutput:   (*reader).mangleOutput,
	"mangle " + capture.ChainDrop:     (*reader).drop,
	"raw " + capture.ChainInbound:     (*reader).zones,
	"raw " + capture.ChainOutputDNS:   (*reader).zones,
}

// builtin reads a rule of a built-in chain: a jump to ours, or what Istio itself
// puts there.
func (r *reader) builtin(form string, rule iptables.Rule) string {
	jump, ok := rule.Target.(iptables.Jump)
	if !ok || !capture.Owns(jump.Chain) {
		return r.istios(form, rule)
	}
	switch r.chain + ": " + form {
	case "nat PREROUTING: tcp " + capture.ChainInbound, "mangle PREROUTING: tcp " + capture.ChainInbound:
		return "TCP that comes in is looked at"
	case "nat OUTPUT: " + capture.ChainOutput:
		if !r.dns { // else the older generations have it too
			r.c.Generation = capture.Current
		}
		return "what leaves a socket of the pod is looked at"
	case "nat OUTPUT: tcp " + capture.ChainOutput, "mangle OUTPUT: tcp " + capture.ChainOutput:
		return "TCP that leaves a socket of the pod is looked at"
	case "mangle PREROUTING: state " + capture.ChainDrop:
		r.c.DropInvalid = true
		return "what fits no connection is dropped (--drop-invalid)"
	case "raw PREROUTING: " + capture.ChainInbound, "raw OUTPUT: " + capture.ChainOutputDNS:
		return "look-ups get conntrack zones of their own (--redirect-dns)"
	case "nat PREROUTING: i " + capture.ChainRedirect, "nat PREROUTING: d i " + capture.ChainRedirect:
		return r.natInbound(form, rule)
	}
	return ""
}

// natOutput reads the rules for connections that begin in the pod.
func (r *reader) natOutput(form string, rule iptables.Rule) string {
	switch form {
	case "o RETURN":
		if r.proxied {
			return localCall
		}
		r.c.ExcludeInterfaces = append(r.c.ExcludeInterfaces, rule.Out.Val)
		return excludedLink(rule.Out.Val)
	case "tcp dport RETURN", "tcp dports RETURN":
		r.c.OutboundExcludePorts = append(r.c.OutboundExcludePorts, destinationPorts(rule.Match)...)
		return portsAre(rule, "excluded by -o")
	case "udp dport RETURN", "udp dports RETURN":
		r.c.Generation = capture.Current
		return portsAre(rule, "excluded by -o")
	case "s o RETURN":
		r.proxied = true
		return "the proxy connects to the app on behalf of a peer"
	case "d RETURN", "RETURN":
		return r.leftAlone(rule)
	case "tcp dport " + capture.ChainRedirect, "tcp dports " + capture.ChainRedirect:
		r.captured = true
		r.c.OutboundPorts = append(r.c.OutboundPorts, destinationPorts(rule.Match)...)
		return portsAre(rule, "included by -q")
	case "d " + capture.ChainRedirect:
		r.include(rule.Dst.Val)
		return fmt.Sprintf("%s is included by -i", rule.Dst.Val)
	case capture.ChainRedirect:
		if o := &r.c.OutboundPrefixes; !o.All && len(o.Only) == 0 {
			o.All, r.captured = true, true
		} else {
			r.include(r.anywhere())
		}
		return "every destination is included by -i"
	case "goto " + capture.ChainExclude, "d goto " + capture.ChainExclude, "goto " + capture.ChainInclude, "d goto " + capture.ChainInclude, "goto " + capture.ChainOutputApp:
		return listed(form, rule)
	case capture.ChainOutputDNS:
		return "look-ups are looked at (--redirect-dns)"
	case "gid " + capture.ChainOutputGroup:
		r.c.OwnerGroups.All, r.c.OwnerGroups.Only = false, append(r.c.OwnerGroups.Only, rule.GIDs[0].Val)
		return fmt.Sprintf("group %s is one of ISTIO_OUTBOUND_OWNER_GROUPS", rule.GIDs[0].Val)
	case "!gid RETURN":
		r.c.OwnerGroups.All = false
		for _, gid := range rule.GIDs {
			r.c.OwnerGroups.Only = append(r.c.OwnerGroups.Only, gid.Val)
		}
		return NoneOfTheGroups
	}
	if redirect, ok := rule.Target.(iptables.Redirect); ok && redirect.Port == capture.DNSProxyPort { // until 1.24
		return r.lookups(form, rule)
	}
	return r.fromProxy(form, rule)
}

// anywhere is the prefix of every destination.
func (r *reader) anywhere() netip.Prefix { return r.family.All() }

// include takes a destination that is captured. Every destination, among others,
// is one of a list.
func (r *reader) include(p netip.Prefix) {
	r.captured = true
	o := &r.c.OutboundPrefixes
	if o.All {
		o.All, o.Only = false, append(o.Only, r.anywhere())
	}
	o.Only = append(o.Only, p)
}

// leftAlone reads "[-d PREFIX] -j RETURN", whose meaning follows from where it
// stands.
func (r *reader) leftAlone(rule iptables.Rule) string {
	switch {
	case !rule.Dst.Set && r.captured:
		if o := &r.c.OutboundPrefixes; o.All { // stands behind lists alone
			o.All, o.Only = false, append(o.Only, r.anywhere())
		}
		return "the destination is none of -i"
	case !rule.Dst.Set && !r.loopback:
		r.c.OwnerGroups.All = false
		return "ISTIO_OUTBOUND_OWNER_GROUPS names no group"
	case !r.loopback:
		r.loopback = true
		if r.family == inet.IPv4 {
			r.c.LoopbackV4 = rule.Dst.Val
		}
		return fmt.Sprintf("%s is the pod itself", rule.Dst.Val)
	case !rule.Dst.Set:
		r.c.OutboundPrefixes.Except = append(r.c.OutboundPrefixes.Except, r.anywhere())
		return "every destination is excluded by -x"
	}
	r.c.OutboundPrefixes.Except = append(r.c.OutboundPrefixes.Except, rule.Dst.Val)
	return fmt.Sprintf("%s is excluded by -x", rule.Dst.Val)
}

// listed says what a rule of a long list is for.
func listed(form string, rule iptables.Rule) string {
	switch form {
	case "goto " + capture.ChainExclude:
		return "the destinations that -x excludes are many: they are looked up"
	case "goto " + capture.ChainInclude:
		return "the destinations that -i includes are many: they are looked up"
	case "d goto " + capture.ChainExclude:
		return fmt.Sprintf("of %s some are excluded by -x", rule.Dst.Val)
	case "d goto " + capture.ChainInclude:
		return fmt.Sprintf("of %s some are included by -i", rule.Dst.Val)
	}
	return "no destination that -x excludes"
}

const localCall = "a process of the pod calls its own pod"

// NoneOfTheGroups is the reason for connections of processes of other groups.
const NoneOfTheGroups = "the group is none of ISTIO_OUTBOUND_OWNER_GROUPS"

// fromProxy reads the rules that keep the proxy's own traffic out of the proxy.
func (r *reader) fromProxy(form string, rule iptables.Rule) string {
	switch form {
	case "!d o tcp !dport uid " + capture.ChainInRedirect, "!d o tcp !dport gid " + capture.ChainInRedirect,
		"!d o tcp !dports uid " + capture.ChainInRedirect, "!d o tcp !dports gid " + capture.ChainInRedirect,
		"!d o uid " + capture.ChainInRedirect, "!d o gid " + capture.ChainInRedirect:
		r.selfCall(rule)
		return "the proxy calls its own pod: in by the front door"
	case "o !uid RETURN", "o !gid RETURN", "o tcp !dport !uid RETURN", "o tcp !dport !gid RETURN", "o tcp !dport RETURN":
		return localCall
	case "!d o " + capture.ChainRedirect:
		r.proxied, r.c.Generation = true, capture.Istio1_0
		return "the pod calls itself: out by the proxy"
	case "uid RETURN":
		if !slices.Contains(r.selfs.uids, rule.UIDs[0].Val) {
			r.c.ProxyUIDs = append(r.c.ProxyUIDs, rule.UIDs[0].Val)
		}
		return fmt.Sprintf("user %s is the proxy", rule.UIDs[0].Val)
	case "gid RETURN":
		gid := rule.GIDs[0].Val
		if i := slices.Index(r.selfs.gids, gid); i >= 0 {
			r.selfs.gids = slices.Delete(r.selfs.gids, i, i+1) // again, and it is excluded
			return fmt.Sprintf("group %s is the proxy", gid)
		}
		if r.c.Generation == capture.Istio1_0 { // which knew no other groups
			r.c.ProxyGIDs = append(r.c.ProxyGIDs, gid)
			return fmt.Sprintf("group %s is the proxy", gid)
		}
		r.c.OwnerGroups.Except = append(r.c.OwnerGroups.Except, gid)
		return fmt.Sprintf("group %s is excluded by ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", gid)
	}
	return ""
}

// selfCall takes the owner of a rule for the proxy's calls to its own pod, and
// what it shows of the generation and the tunnel.
func (r *reader) selfCall(rule iptables.Rule) {
	for _, uid := range rule.UIDs {
		r.selfs.uids, r.c.ProxyUIDs = append(r.selfs.uids, uid.Val), append(r.c.ProxyUIDs, uid.Val)
	}
	for _, gid := range rule.GIDs {
		r.selfs.gids, r.c.ProxyGIDs = append(r.selfs.gids, gid.Val), append(r.c.ProxyGIDs, gid.Val)
	}
	switch ports := destinationPorts(rule.Match); {
	case r.dns && len(ports) > 1, !r.dns && len(ports) > 0:
		r.c.Generation = capture.Current
	}
}

// redirect reads the rules that lead to the proxy.
func (r *reader) redirect(form string, rule iptables.Rule) string {
	if form != "tcp REDIRECT" {
		return ""
	}
	port := rule.Target.(iptables.Redirect).Port
	if r.chain == "nat "+capture.ChainRedirect {
		r.c.ProxyPort = port
		return fmt.Sprintf("to the proxy's outbound port %d", port)
	}
	r.c.InboundPort = port
	return fmt.Sprintf("to the proxy's inbound port %d", port)
}

func excludedLink(name iptables.Interface) string {
	return fmt.Sprintf("interface %s is excluded by -c", name)
}

// portsAre says something of the ports of a rule.
func portsAre(rule iptables.Rule, what string) string {
	ports := destinationPorts(rule.Match)
	const mostNamed = 4
	if len(ports) > mostNamed {
		return "these ports are " + what
	}
	if len(ports) == 1 && ports[0].Single() {
		return fmt.Sprintf("port %s is %s", ports[0], what)
	}
	return fmt.Sprintf("ports %s are %s", joinPorts(ports), what)
}

func joinPorts(ports []iptables.PortRange) string {
	text := ""
	for i, p := range ports {
		if i > 0 {
			text += ","
		}
		text += p.String()
	}
	return text
}
