package test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
	"istio-init/test/scenario"
)

// TestForeignRulesSeeWhatIsNotCaptured forwards a port of the pod by DNAT, as KubeVirt does
// for a virtual machine and docker for a published port. What -c and -k do not capture
// is forwarded as without a mesh, whether the foreign rule is ahead of ours or was added
// behind them. Istio returns from PREROUTING itself, so that later rules never see the packet.
func TestForeignRulesSeeWhatIsNotCaptured(t *testing.T) {
	t.Parallel()
	needKernel(t)
	const (
		foreign = "*nat\n-A PREROUTING -i %s -p tcp -m tcp --dport 8080 -j DNAT --to-destination %s\nCOMMIT\n"
		istio   = "*nat\n-A PREROUTING -i %s -j RETURN\nCOMMIT\n"
	)
	options := []struct {
		name, option, in string
		host, server     string // which the client connects to, and who is behind it
	}{
		{"excluded-interface", "-i * -b * -c eth0", "eth0", "pod", "vm"},
		{"virtual-interface", "-i 203.0.113.0/24,2001:db8:99::/64 -b * -k eth1", "eth1", "pod2", "peer"},
	}
	orders := []struct {
		name     string
		steps    []string
		forwards bool
	}{
		{"alone", []string{"foreign"}, true},
		{"ahead", []string{"foreign", "ours"}, true},
		{"behind", []string{"ours", "foreign"}, true},
		{"behind-istio", []string{"istio", "foreign"}, false},
	}
	for _, o := range options {
		for _, order := range orders {
			for _, v := range xtables.Variants {
				t.Run(o.name+"/"+order.name+"/"+v.String(), func(t *testing.T) {
					t.Parallel()
					var config flow.Config
					config.ApplyDefaults()
					p := pod.New(t, config)
					for _, step := range order.steps {
						for _, f := range inet.Families {
							switch server := netip.AddrPortFrom(flow.Addr(o.server, f), 80); step {
							case "foreign":
								restoreIn(t, p, v, f, fmt.Sprintf(foreign, o.in, server))
							case "istio":
								restoreIn(t, p, v, f, fmt.Sprintf(istio, o.in))
							}
						}
						if step == "ours" {
							args := in(v, flags(o.option))
							if _, log, err := p.Run(t.Context(), built, args...); err != nil {
								t.Fatalf("%v: %v\n%s", args, err, log)
							}
						}
					}
					client, server := p.Peer, p.VM
					if o.in == "eth1" {
						client, server = p.VM, p.Peer
					}
					for _, f := range inet.Families {
						server.Listen(t, flow.Identity{}, netip.AddrPortFrom(flow.Addr(o.server, f), 80), false)
						conn, err := client.Dial(flow.Identity{}, netip.AddrPortFrom(flow.Addr(o.host, f), 8080))
						switch {
						case err == nil:
							_ = conn.Close()
						case !errors.Is(err, unix.ECONNREFUSED):
							t.Fatal(err)
						}
						if got := err == nil; got != order.forwards {
							t.Errorf("%s: forwarded: %t, want %t", f, got, order.forwards)
						}
					}
				})
			}
		}
	}
}

// TestForeignMarksBehindTPROXY is a known limit: a foreign rule behind ours in mangle OUTPUT
// that changes the mark of the proxy's packets to the app breaks inbound connections. Istio
// returns them from OUTPUT itself; a rule that marks the answers of the app too breaks both.
func TestForeignMarksBehindTPROXY(t *testing.T) {
	t.Parallel()
	needKernel(t)
	tests := []struct {
		name, match     string
		ours, istioGoes bool
	}{
		{"none", "-p udp", true, true},
		{"by-lo", "-o lo", false, true},
		{"all", "-p tcp", false, false},
	}
	for _, tt := range tests {
		for _, ours := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/ours-%t", tt.name, ours), func(t *testing.T) {
				t.Parallel()
				loaded := scenario.Load(t, testdata, "tproxy-default")
				s := stage{loaded, loaded.Config(t)}
				p, want := pod.New(t, s.config), tt.istioGoes
				if ours {
					s.install(t, p, s.Rules(t, inet.IPv4), s.Routes(inet.IPv4))
					want = tt.ours
				} else {
					restoreIn(t, p, xtables.NFT, inet.IPv4, takeover(t, "tproxy").sections["both"])
					for _, command := range s.Routes(inet.IPv4) {
						runIP(t, p, command)
					}
				}
				restoreIn(t, p, xtables.NFT, inet.IPv4, "*mangle\n-A OUTPUT "+tt.match+" -j MARK --set-xmark 0x4000/0x4000\nCOMMIT\n")
				flows, err := flow.Parse("peer -> pod4:8080 = proxy 15006")
				if err != nil {
					t.Fatal(err)
				}
				p.Serve(t, flows)
				if got, _ := p.Observe(flows[0], inet.IPv4); (got == flows[0].Outcome) != want {
					t.Errorf("an inbound connection arrives: %t, want %t (%s)", !want, want, got)
				}
			})
		}
	}
}

// takeover returns the rules of one of Istio's releases.
func takeover(t *testing.T, name string) generation {
	t.Helper()
	all := generations(t)
	i := slices.IndexFunc(all, func(g generation) bool { return g.name == name })
	if i < 0 {
		t.Fatalf("no generation %s", name)
	}
	return all[i]
}
