package test

import (
	"encoding/json"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"istio-init/capture"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
	"istio-init/test/flow"
	"istio-init/test/pod"
)

// otherMeshes are where connections land by the rules of other meshes.
var otherMeshes = []struct {
	name  string
	rules string // the file and section under testdata
	uid   uint32 // of the proxy
	in    uint16
	out   uint16
	dns   bool
	flows string
}{
	{
		name: "ambient", rules: "ambient/rules.txtar pod", uid: 0, in: 15006, out: 15001, dns: true,
		flows: `
			peer -> pod:8080      = proxy 15006
			peer -> pod:15008     = direct
			app  -> ext:80        = proxy 15001
			root -> ext:80        = proxy 15001
			app  -> pod:8080      = direct
			app  -> localhost:8080 = direct
			app  -> udp ext:53    = proxy 15053
			app  -> ext:53        = proxy 15053
			app  -> udp ext:9999  = direct
		`,
	},
	{
		name: "linkerd", rules: "script/meshes.txtar linkerd", uid: 2102, in: 4143, out: 4140,
		flows: `
			peer  -> pod:8080     = proxy 4143
			peer  -> pod:4191     = direct
			app   -> ext:80       = proxy 4140
			app   -> ext:4567     = direct
			app   -> pod:8080     = direct
			proxy -> ext:80       = direct
			proxy -> pod:8080     = proxy 4143
			proxy -> localhost:8080 = direct
			app   -> udp ext:53   = direct
		`,
	},
	{
		name: "kuma", rules: "script/meshes.txtar kuma", uid: 65534, in: 15006, out: 15001, dns: true,
		flows: `
			peer  -> pod:8080     = proxy 15006
			peer  -> pod:9901     = direct
			app   -> ext:80       = proxy 15001
			app   -> pod:8080     = direct
			proxy -> pod:8080     = proxy 15006
			proxy -> ext:80       = direct
			app   -> udp ext:53   = proxy 15053
			proxy -> udp ext:53   = direct
		`,
	},
	{
		name: "consul", rules: "script/meshes.txtar consul", uid: 5995, in: 20000, out: 15001,
		flows: `
			peer  -> pod:8080     = proxy 20000
			peer  -> pod:20200    = direct
			app   -> ext:80       = proxy 15001
			5996:5996 -> ext:80   = direct
			proxy -> ext:80       = direct
			app   -> pod:8080     = proxy 15001
		`,
	},
	{
		name: "osm", rules: "script/meshes.txtar osm", uid: 1500, in: 15003, out: 15001,
		flows: `
			peer  -> pod:8080     = proxy 15003
			peer  -> pod:15901    = direct
			app   -> ext:80       = proxy 15001
			app   -> pod:8080     = direct
			proxy -> pod:8080     = proxy 15003
			proxy -> ext:80       = direct
		`,
	},
}

// meshAddresses converts rules for IPv4 to IPv6.
var meshAddresses = strings.NewReplacer("127.0.0.1:8600", "[::1]:8600", "127.0.0.1/32", "::1/128", "127.0.0.6/32", "::6/128", "169.254.7.127/32", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128")

// TestConnectionsByRulesOfOtherMeshes land where trace says, and trace names the mesh.
func TestConnectionsByRulesOfOtherMeshes(t *testing.T) {
	needKernel(t)
	for _, tt := range otherMeshes {
		for _, v := range xtables.Variants {
			t.Run(tt.name+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				c := flow.Config{Captured: inet.Families[:]}
				c.ProxyPort, c.InboundPort, c.DNS.All, c.Generation = tt.out, tt.in, tt.dns, capture.Current
				c.ProxyUIDs, c.ProxyGIDs = []iptables.IDRange{iptables.ID(tt.uid)}, []iptables.IDRange{iptables.ID(tt.uid)}
				flows, err := flow.Parse(tt.flows)
				if err != nil {
					t.Fatal(err)
				}
				p := pod.New(t, c)
				p.EndsAtProxy = true
				for _, f := range inet.Families {
					rules := section(t, tt.rules)
					if f == inet.IPv6 {
						rules = meshAddresses.Replace(rules)
					}
					restoreIn(t, p, v, f, rules)
				}
				p.Serve(t, flows)
				for _, fl := range flows {
					for _, f := range fl.In(inet.Families[:]) {
						if got, said := p.Observe(fl, f); got != fl.Outcome {
							t.Errorf("%s (%s): on the kernel it is %s\nheard: %q", fl.Line, f, got, said)
						}
						if got := traceForeign(t, p, c, fl, f); got != fl.Outcome {
							t.Errorf("%s (%s): trace says that it is %s", fl.Line, f, got)
						}
					}
				}
				if tt.name == "ambient" {
					ztunnelIsDirect(t, p)
				}
			})
		}
	}
}

// section returns a section of a file in testdata.
func section(t *testing.T, at string) string {
	t.Helper()
	file, name, _ := strings.Cut(at, " ")
	archive, err := txtar.ParseFile(testdata + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("%s has no section %s", file, name)
	return ""
}

// traceForeign returns the outcome of a flow by the live rules of another mesh.
func traceForeign(t *testing.T, p *pod.Pod, c flow.Config, fl flow.Flow, f inet.Family) string {
	t.Helper()
	args := append([]string{"trace", "--output", "json"}, traceArgs(fl.Connection(c, f))...)
	stdout, stderr, err := p.Run(t.Context(), built, args...)
	var answer struct {
		Certain bool
		Legs    []struct {
			Landing, Outcome string
			Port             uint16
			Loop             bool
		}
	}
	if err != nil || json.Unmarshal([]byte(stdout), &answer) != nil || len(answer.Legs) != 1 || !answer.Certain || answer.Legs[0].Loop {
		t.Fatalf("%s: want one certain hop: %v\n%s\n%s", strings.Join(args, " "), err, stderr, stdout)
	}
	return fl.OutcomeAt(answer.Legs[0].Landing, answer.Legs[0].Port)
}

// ztunnelIsDirect connects with the mark of ztunnel, which no rule of ambient redirects.
func ztunnelIsDirect(t *testing.T, p *pod.Pod) {
	t.Helper()
	to := netip.AddrPortFrom(flow.Addr("ext", inet.IPv4), 80)
	p.Pod.Do(t, func() error {
		conn, err := (&net.Dialer{Control: netutil.Socket{Mark: 0x539}.Control}).DialContext(t.Context(), "tcp4", to.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("token\n"))
		answer := make([]byte, 3)
		if _, readErr := conn.Read(answer); readErr != nil || string(answer) != "end" {
			t.Errorf("with the mark of ztunnel: want the answer of the destination, got %q, %v", answer, readErr)
		}
		return err
	})
	stdout, _, err := p.Run(t.Context(), built, "trace", "--uid", "0", "--mark", "0x539", "--to", to.String())
	if err != nil || !strings.Contains(stdout, "passes: not captured, because mark 0x539/0xfff is of ztunnel") {
		t.Errorf("trace with the mark of ztunnel: %v\n%s", err, stdout)
	}
}
