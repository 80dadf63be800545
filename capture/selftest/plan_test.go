package selftest

import (
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

func TestConnectionsOfTheDocumentedCommand(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(strings.TrimPrefix(whole, "\n"), lines(Prepare(sidecar(nil), inet.IPv4, 15002, pod(inet.IPv4, nil)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlannedConnections(t *testing.T) {
	t.Parallel()
	for _, tt := range plans {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := lines(Prepare(sidecar(tt.config), tt.family, 15002, pod(tt.family, tt.env)))
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

func TestNoRulesNoConnections(t *testing.T) {
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

// TestProbePortAvoidsPortsOfIstio asks for ports that the proxy has.
func TestProbePortAvoidsPortsOfIstio(t *testing.T) {
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
