package selftest

import (
	"errors"
	"net/netip"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// plans are configs and sites, and lines of their plans; those with "-" before
// them must not be there.
var plans = []struct {
	name   string
	family inet.Family
	config func(*capture.Config)
	env    func(*Environment)
	want   string
}{
	{
		name: "lists",
		config: func(c *capture.Config) {
			c.OutboundPrefixes.All = false
			c.OutboundPrefixes.Only = []netip.Prefix{netip.MustParsePrefix("2001:db8:5::/48"), netip.MustParsePrefix("10.0.0.0/8")}
			c.OutboundPrefixes.Except = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32")}
			c.OutboundPorts = []iptables.PortRange{{Lo: 9000, Hi: 9001}}
			c.OutboundExcludePorts = []iptables.PortRange{iptables.Port(3306)}
		},
		want: `
app to a captured destination: 0:0 -> tcp 10.255.255.254:15002 = port 15001
app to an included port: 0:0 -> tcp 192.0.2.1:9000 = port 15001
app to an excluded port: 0:0 -> tcp 10.255.255.254:3306 = not captured, leaves the pod
app to an excluded destination: 0:0 -> tcp 10.1.2.3:15002 = not captured, leaves the pod
app to any other destination: 0:0 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
`,
	},
	{
		name: "another-port-where-the-usual-one-is-excluded",
		config: func(c *capture.Config) {
			c.OutboundExcludePorts = []iptables.PortRange{{Lo: 15000, Hi: 65535}}
		},
		want: `
app to a captured destination: 0:0 -> tcp 192.0.2.1:9 = port 15001
app to an excluded port: 0:0 -> tcp 192.0.2.1:15000 = not captured, leaves the pod
`,
	},
	{
		name:   "nothing-outbound",
		config: func(c *capture.Config) { c.OutboundPrefixes.All = false },
		want: `
app to a destination outside: 0:0 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
proxy (user 1337) to its own pod: 1337:0 -> tcp 10.244.0.2:15002 = port 15006
-app to a captured destination
-app to any other destination
`,
	},
	{
		name:   "nothing-inbound",
		config: func(c *capture.Config) { c.InboundPorts.All = false },
		want:   "-inbound connection",
	},
	{
		name: "groups", config: func(c *capture.Config) {
			c.OwnerGroups = capture.Selector[iptables.IDRange]{Only: []iptables.IDRange{{Lo: 2000, Hi: 2010}}}
		},
		want: `
app to a captured destination: 0:2000 -> tcp 192.0.2.1:15002 = port 15001
app of a group that is not captured to a captured destination: 0:0 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
`,
	},
	{
		name:   "excluded-group",
		config: func(c *capture.Config) { c.OwnerGroups.Except = []iptables.IDRange{iptables.ID(0)} },
		want: `
app to a captured destination: 0:1000 -> tcp 192.0.2.1:15002 = port 15001
app of a group that is not captured to a captured destination: 0:0 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
`,
	},
	{
		name: "several-users-and-root-among-them",
		config: func(c *capture.Config) {
			c.ProxyUIDs = []iptables.IDRange{{Lo: 0, Hi: 1000}, iptables.ID(1337)}
			c.ProxyGIDs = []iptables.IDRange{iptables.ID(1337), iptables.ID(5000)}
		},
		want: `
app to a captured destination: 1001:0 -> tcp 192.0.2.1:15002 = port 15001
proxy (user 0-1000) to its own pod: 0:0 -> tcp 10.244.0.2:15002 = port 15006
proxy (user 1337) to its own pod: 1337:0 -> tcp 10.244.0.2:15002 = port 15006
proxy (group 5000) to a captured destination: 1001:5000 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
`,
	},
	{
		name:   "everybody-is-the-proxy",
		config: func(c *capture.Config) { c.ProxyUIDs = []iptables.IDRange{{Lo: 0, Hi: iptables.MaxID}} },
		want: `
app to a destination outside: every user or group is the proxy's or not captured
proxy (user 0-4294967294) to its own pod: 0:0 -> tcp 10.244.0.2:15002 = port 15006
`,
	},
	{
		name: "tproxy",
		config: func(c *capture.Config) {
			c.Mode = capture.TProxy
			c.InboundPorts.Except = []iptables.PortRange{iptables.Port(15090)}
		},
		want: `
proxy (user 1337) to its own pod: 1337:0 -> tcp 10.244.0.2:15002 = port 15006
proxy (group 1337) to its own pod: 0:1337 -> tcp 10.244.0.2:15002 = port 15006, by TPROXY
inbound connection to a captured port: 0:0 with mark 0x53a -> tcp 10.244.0.2:15002 = port 15006, by TPROXY
inbound connection to an excluded port: 0:0 with mark 0x53a -> tcp 10.244.0.2:15090 = not captured
inbound connection to the tunnel port: 0:0 with mark 0x53a -> tcp 10.244.0.2:15008 = not captured
proxy to the app, with the address of the peer: 0:0 from 192.0.2.1 with mark 0x539 -> tcp 10.244.0.2:15002 = not captured
`,
	},
	{
		name: "tproxy-of-listed-ports", family: inet.IPv6,
		config: func(c *capture.Config) {
			c.Mode, c.InboundPorts = capture.TProxy, capture.Selector[iptables.PortRange]{Only: []iptables.PortRange{iptables.Port(80)}}
		},
		want: `
proxy (group 1337) to its own pod: 0:1337 -> tcp [2001:db8:244::2]:80 = port 15006, by TPROXY
inbound connection to a captured port: 0:0 with mark 0x53a -> tcp [2001:db8:244::2]:80 = port 15006, by TPROXY
`,
	},
	{
		name: "tproxy-without-powers", config: func(c *capture.Config) { c.Mode = capture.TProxy },
		env:  func(s *Environment) { s.Powers = netutil.Powers{UID: 1337, GID: 1337} },
		want: "inbound connection: needs the capability NET_ADMIN or NET_RAW, for marks and transparent sockets",
	},
	{
		name: "dns", config: func(c *capture.Config) { c.DNS.Servers = []netip.Addr{netip.MustParseAddr("10.96.0.10")} },
		want: `
DNS query of the app over udp: 0:0 -> udp 10.96.0.10:53 = port 15053
DNS query of the proxy over udp: 1337:0 -> udp 10.96.0.10:53 = not captured, leaves the pod
DNS query of the app over tcp: 0:0 -> tcp 10.96.0.10:53 = port 15053
DNS query of the proxy over tcp: 1337:0 -> tcp 10.96.0.10:53 = not captured, leaves the pod
`,
	},
	{
		name: "dns-without-powers", config: func(c *capture.Config) { c.DNS.All = true },
		env: func(s *Environment) { s.Powers = netutil.Powers{} },
		want: `
DNS query of the app over udp: 0:0 -> udp 192.0.2.1:53 = port 15053, one way
DNS query of the proxy over udp: needs CAP_SETUID or to run as user 1337
DNS query of the app over tcp: 0:0 -> tcp 192.0.2.1:53 = port 15053
`,
	},
	{
		name: "servers-of-the-other-family", family: inet.IPv6,
		config: func(c *capture.Config) { c.DNS.Servers = []netip.Addr{netip.MustParseAddr("10.96.0.10")} },
		want:   "-DNS query of the app over udp",
	},
	{
		name: "proxy-without-powers",
		env:  func(s *Environment) { s.Powers = netutil.Powers{UID: 1337, GID: 1337} },
		want: `
app to a captured destination: needs CAP_SETUID and CAP_SETGID, or to run as an app and not as the proxy
proxy (user 1337) to a captured destination: 1337:1337 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
proxy (group 1337) to a captured destination: needs CAP_SETUID: user 1337 is the proxy's whatever the group
proxy (user 1337) to its own pod: 1337:1337 -> tcp 10.244.0.2:15002 = port 15006
`,
	},
	{
		name: "no-address-and-no-route", family: inet.IPv6,
		env: func(s *Environment) {
			s.Addr, s.PathTo = netip.Addr{}, func(a netip.Addr) (netutil.Path, error) {
				if a.IsLoopback() || a == capture.Passthrough(inet.IPv6) {
					return netutil.Path{Interface: "lo", Src: a}, nil
				}
				return netutil.Path{}, errors.New("no route")
			}
		},
		want: `
app to a destination outside: no route
proxy (user 1337) to its own pod: 1337:0 from ::1 -> tcp [::6]:15002 = port 15006
`,
	},
	{
		name: "excluded-interface", config: func(c *capture.Config) { c.ExcludeInterfaces = []iptables.Interface{"eth+"} },
		want: `
app to a destination outside: 0:0 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
proxy (user 1337) to its own pod: 1337:0 -> tcp 10.244.0.2:15002 = port 15006
`,
	},
	{
		name: "istio-1.0", config: func(c *capture.Config) { c.Generation = capture.Istio1_0 },
		want: `
app to its own pod: 0:0 -> tcp 10.244.0.2:15002 = port 15001
-proxy to the tunnel port of its own pod
`,
	},
	{
		name: "rules-of-istio-without-powers", config: func(c *capture.Config) { c.Mode, c.TProxyMark = capture.TProxy, 1337 },
		env: func(s *Environment) { s.Powers, s.Istio = netutil.Powers{UID: 1337, GID: 1337}, true },
		want: `
proxy (user 1337) to its own pod: 1337:1337 -> tcp 10.244.0.2:15002 = port 15006
proxy to the tunnel port of its own pod: Istio's own rules send it to a transparent socket, which needs the capability NET_ADMIN or NET_RAW
`,
	},
	{
		name: "virtual-machine", config: func(c *capture.Config) { c.VirtualInterfaces = []iptables.Interface{"net1"} },
		want: "virtual interface to a captured destination: only a packet from a virtual interface matches these rules",
	},
}
