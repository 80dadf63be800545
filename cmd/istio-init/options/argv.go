package options

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil/inet"
)

// Arguments returns the flags and variables of an apply that makes the rules of a
// configuration, for both families or for IPv4. Defaults are left out, except for the
// flags that Istio's injector always gives.
func Arguments(c capture.Config, both bool) (args, variables []string) {
	add := func(flag, value string) { args = append(args, flag, value) }
	port := func(flag string, p, def uint16) {
		if p != 0 && p != def { // 0: unknown
			add(flag, strconv.Itoa(int(p)))
		}
	}
	port("-p", c.ProxyPort, 0)
	port("-z", c.InboundPort, 0)
	port("-e", c.TunnelPort, capture.DefaultTunnelPort)
	uids, gids := commaList(c.ProxyUIDs), commaList(c.ProxyGIDs)
	if uids != "" {
		add("-u", uids)
	}
	if gids != "" && gids != uids {
		add("-g", gids)
	}
	add("-m", c.Mode.String())
	add("-i", scopeText(c.OutboundPrefixes))
	add("-x", commaList(c.OutboundPrefixes.Except))
	add("-b", scopeText(c.InboundPorts))
	for _, o := range []struct{ flag, value string }{
		{"-d", commaList(c.InboundPorts.Except)},
		{"-q", commaList(c.OutboundPorts)},
		{"-o", commaList(c.OutboundExcludePorts)},
		{"-c", commaList(c.ExcludeInterfaces)},
		{"-k", commaList(c.VirtualInterfaces)},
	} {
		if o.value != "" {
			add(o.flag, o.value)
		}
	}
	if c.Mode == capture.TProxy && c.TProxyMark != capture.DefaultTProxyMark {
		add("-t", fmt.Sprintf("%#x", c.TProxyMark))
	}
	if c.Mode == capture.TProxy && c.TProxyTable != capture.DefaultTProxyTable {
		add("-r", strconv.FormatUint(uint64(c.TProxyTable), 10))
	}
	args = append(args, switches(c)...)
	if both {
		args = append(args, "--dual-stack")
	}
	return args, environment(c)
}

// switches returns the boolean flags, and --compat.
func switches(c capture.Config) []string {
	var args []string
	if c.DNS.Captures() {
		args = append(args, "--redirect-dns")
	}
	if c.DNS.All {
		args = append(args, "--capture-all-dns")
	}
	if c.DropInvalid {
		args = append(args, "--drop-invalid")
	}
	switch {
	case c.Generation == capture.Istio1_0 && c.Mode == capture.TProxy: // not supported: the nearest one
		args = append(args, "--compat", capture.Istio1_15.String())
	case c.Generation != capture.Current:
		args = append(args, "--compat", c.Generation.String())
	}
	return args
}

// environment returns the options that have no flag, as NAME=VALUE.
func environment(c capture.Config) []string {
	var vars []string
	if g := c.OwnerGroups; !g.All {
		vars = append(vars, "ISTIO_OUTBOUND_OWNER_GROUPS="+commaList(g.Only))
	} else if len(g.Except) > 0 {
		vars = append(vars, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE="+commaList(g.Except))
	}
	if c.LoopbackV4.IsValid() && c.LoopbackV4 != netip.PrefixFrom(inet.IPv4.Localhost(), 32) {
		vars = append(vars, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR="+c.LoopbackV4.String())
	}
	return vars
}

func scopeText[T iptables.PortRange | netip.Prefix](s capture.Selector[T]) string {
	if s.All {
		return "*"
	}
	return commaList(s.Only)
}

// commaList joins values as an option takes them.
func commaList[T iptables.PortRange | iptables.IDRange | iptables.Interface | netip.Prefix](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = fmt.Sprint(v)
		if r, ok := any(v).(iptables.PortRange); ok {
			texts[i] = strings.Replace(r.String(), ":", "-", 1)
		}
	}
	return strings.Join(texts, ",")
}
