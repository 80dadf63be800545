package selftest

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// pod is a site with an address and a default route, where all powers are had.
func pod(f inet.Family, change func(*Environment)) Environment {
	own := [...]netip.Addr{netip.MustParseAddr("10.244.0.2"), netip.MustParseAddr("2001:db8:244::2")}[f]
	s := Environment{
		Addr:   own,
		Powers: netutil.Powers{SetUID: true, SetGID: true, Raw: true},
		PathTo: func(a netip.Addr) (netutil.Path, error) {
			if a.IsLoopback() || a == own || a == capture.Passthrough(inet.IPv6) {
				return netutil.Path{Interface: "lo", Src: a}, nil
			}
			return netutil.Path{Interface: "eth0", Src: own}, nil
		},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// sidecar is the config of the published command, changed.
func sidecar(change func(*capture.Config)) capture.Config {
	c := capture.Config{
		ProxyPort: 15001, InboundPort: 15006, TunnelPort: 15008, TProxyMark: 1337, TProxyTable: 133,
		ProxyUIDs: []iptables.IDRange{iptables.ID(1337)}, ProxyGIDs: []iptables.IDRange{iptables.ID(1337)},
	}
	c.InboundPorts.All, c.OutboundPrefixes.All, c.OwnerGroups.All = true, true, true
	if change != nil {
		change(&c)
	}
	return c
}

// lines are the probes of a plan, one a line.
func lines(p Plan) string {
	var b strings.Builder
	for _, x := range p.Probes {
		switch {
		case x.Skip != "":
			fmt.Fprintf(&b, "%s: %s\n", x.Name, x.Skip)
		default:
			fmt.Fprintf(&b, "%s: %s = %s", x.Name, x.Connection(), x.Want)
			if x.OneWay {
				b.WriteString(", one way")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// whole is the plan of the published command.
const whole = `
app to a captured destination: 0:0 -> tcp 192.0.2.1:15002 = port 15001
proxy (user 1337) to a captured destination: 1337:0 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
proxy (group 1337) to a captured destination: 0:1337 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
proxy (user 1337) to its own pod: 1337:0 -> tcp 10.244.0.2:15002 = port 15006
proxy (group 1337) to its own pod: 0:1337 -> tcp 10.244.0.2:15002 = not captured
proxy to the tunnel port of its own pod: 1337:0 -> tcp 10.244.0.2:15008 = not captured
proxy to the app, the last step of an inbound connection: 1337:0 from 127.0.0.6 -> tcp 10.244.0.2:15002 = not captured
proxy to localhost: 1337:0 -> tcp 127.0.0.1:15002 = not captured
app to its own pod: 0:0 -> tcp 10.244.0.2:15002 = not captured
app to localhost: 0:0 -> tcp 127.0.0.1:15002 = not captured
inbound connection: only a packet from another machine matches the rules of PREROUTING
`

// plans are configs and sites, and lines of their plans; those with "-" before
// them must not be there.
var plans = []struct {
	name   string
	family inet.Family
	config func(*capture.Config)
	here   func(*Environment)
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
			c.OwnerGroups = capture.Scope[iptables.IDRange]{Only: []iptables.IDRange{{Lo: 2000, Hi: 2010}}}
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
			c.Mode, c.InboundPorts = capture.TProxy, capture.Scope[iptables.PortRange]{Only: []iptables.PortRange{iptables.Port(80)}}
		},
		want: `
proxy (group 1337) to its own pod: 0:1337 -> tcp [2001:db8:244::2]:80 = port 15006, by TPROXY
inbound connection to a captured port: 0:0 with mark 0x53a -> tcp [2001:db8:244::2]:80 = port 15006, by TPROXY
`,
	},
	{
		name: "tproxy-without-powers", config: func(c *capture.Config) { c.Mode = capture.TProxy },
		here: func(s *Environment) { s.Powers = netutil.Powers{UID: 1337, GID: 1337} },
		want: "inbound connection: needs CAP_NET_ADMIN or CAP_NET_RAW, for marks and transparent sockets",
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
		here: func(s *Environment) { s.Powers = netutil.Powers{} },
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
		here: func(s *Environment) { s.Powers = netutil.Powers{UID: 1337, GID: 1337} },
		want: `
app to a captured destination: needs CAP_SETUID and CAP_SETGID, or to run as an app and not as the proxy
proxy (user 1337) to a captured destination: 1337:1337 -> tcp 192.0.2.1:15002 = not captured, leaves the pod
proxy (group 1337) to a captured destination: needs CAP_SETUID: user 1337 is the proxy's whatever the group
proxy (user 1337) to its own pod: 1337:1337 -> tcp 10.244.0.2:15002 = port 15006
`,
	},
	{
		name: "no-address-and-no-route", family: inet.IPv6,
		here: func(s *Environment) {
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
		name: "virtual-machine", config: func(c *capture.Config) { c.VirtualInterfaces = []iptables.Interface{"net1"} },
		want: "virtual interface to a captured destination: only a packet from a virtual interface matches these rules",
	},
}

func TestThePublishedCommandIsProvedByTheseConnections(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(strings.TrimPrefix(whole, "\n"), lines(Prepare(sidecar(nil), inet.IPv4, 15002, pod(inet.IPv4, nil)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAConnectionIsPlannedForEachKindOfTraffic(t *testing.T) {
	t.Parallel()
	for _, tt := range plans {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := lines(Prepare(sidecar(tt.config), tt.family, 15002, pod(tt.family, tt.here)))
			for line := range strings.Lines(strings.TrimPrefix(tt.want, "\n")) {
				line = strings.TrimSuffix(line, "\n")
				name, unwanted := strings.CutPrefix(line, "-")
				switch {
				case unwanted && strings.Contains("\n"+got, "\n"+name+":"):
					t.Errorf("%s: is planned:\n%s", name, got)
				case !unwanted && !strings.Contains("\n"+got, "\n"+line+"\n"):
					t.Errorf("%s: is not planned:\n%s", line, got)
				}
			}
		})
	}
}

func TestNothingIsPlannedWhereThereAreNoRules(t *testing.T) {
	t.Parallel()
	none := Prepare(sidecar(func(c *capture.Config) { c.Mode = capture.None }), inet.IPv4, 15002, pod(inet.IPv4, nil))
	old := Prepare(sidecar(func(c *capture.Config) { c.Generation = capture.Istio1_0 }), inet.IPv6, 15002, pod(inet.IPv6, nil))
	for _, p := range []Plan{none, old} {
		if len(p.Probes)+len(p.Listeners) > 0 {
			t.Errorf("planned: %+v", p)
		}
	}
	if err := Verdict(Run(t.Context(), none, old)); err != nil {
		t.Errorf("nothing to prove: %v", err)
	}
}

// TestThePortOfTestsIsNoneThatMeansSomethingElse asks for ports that the proxy has.
func TestThePortOfTestsIsNoneThatMeansSomethingElse(t *testing.T) {
	t.Parallel()
	for _, port := range []uint16{15001, 15006, 15008, 53, 15053, 65535} {
		plan := Prepare(sidecar(func(c *capture.Config) { c.InboundPort = 65535 }), inet.IPv4, port, pod(inet.IPv4, nil))
		seen := map[netip.AddrPort]bool{}
		for _, l := range plan.Listeners {
			if seen[l.At] || !l.Proxy && l.At.Port() == port && port != 15008 && port != 15006 {
				t.Errorf("port %d: listens on %s", port, l.At)
			}
			seen[l.At] = true
		}
	}
}
