package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// ambientAddresses converts rules of ambient mode for IPv4 to IPv6.
var ambientAddresses = strings.NewReplacer("127.0.0.1/32", "::1/128", "169.254.7.127/32", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128",
	"169.254.7.127", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff")

// withAmbient returns a namespace with the rules of ambient mode in a variant: those of a
// pod or those of its node.
func withAmbient(t *testing.T, v xtables.Variant, where string) *site {
	t.Helper()
	archive, err := txtar.ParseFile(testdata + "/ambient/rules.txtar")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	for _, f := range archive.Files {
		if f.Name == where {
			s.restore(v, inet.IPv4, string(f.Data))
			s.restore(v, inet.IPv6, ambientAddresses.Replace(string(f.Data)))
		}
	}
	s.sh("ip rule add fwmark 0x111/0xfff pref 32764 lookup 100; ip route add local 0.0.0.0/0 dev lo table 100")
	return s
}

func onBothVariants(t *testing.T, test func(t *testing.T, v xtables.Variant)) {
	t.Helper()
	t.Parallel()
	needKernel(t)
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			test(t, v)
		})
	}
}

func TestAmbientPodIsRefused(t *testing.T) {
	onBothVariants(t, func(t *testing.T, v xtables.Variant) {
		s := withAmbient(t, v, "pod")
		before := s.state()
		for _, line := range [][]string{asRedirect, asTProxy, in(v, asRedirect), in(native, asRedirect), append([]string{"check"}, asRedirect[1:]...)} {
			want := 1
			if line[0] == "check" {
				want = 2
			}
			if log := s.exits(want, line...); !strings.Contains(log, "ambient mode") {
				t.Errorf("%s: want a refusal that says ambient, got\n%s", line, log)
			}
		}
		checkSaysAmbient(t, s)
		s.exits(0, cleanCommand)
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
	})
}

// checkSaysAmbient checks that check without flags names the ambient mode, and no
// configuration of a sidecar.
func checkSaysAmbient(t *testing.T, s *site) {
	t.Helper()
	const headline = "the pod is in Istio's ambient mode, ipv4 and ipv6: its rules are not ours\n"
	answer := s.exits(0, "check")
	if !strings.Contains(answer, headline) || strings.Contains(answer, "istio-init apply") || strings.Contains(answer, "captured") {
		t.Errorf("want only %q, got\n%s", headline, answer)
	}
	if answer := s.exits(0, "trace", "--to", "192.0.2.9:80"); strings.Contains(answer, "loops") {
		t.Errorf("want no loop of a proxy, got\n%s", answer)
	}
}

// TestCleanRemovesSidecarBesideAmbient where a chain of ambient came after the sidecar: the
// sidecar is removed whole, and ambient's chain and the jump to it stay.
func TestCleanRemovesSidecarBesideAmbient(t *testing.T) {
	onBothVariants(t, func(t *testing.T, v xtables.Variant) {
		for _, table := range []string{"mangle", "nat"} {
			const ambient = ":PREROUTING ACCEPT [0:0]\n:ISTIO_PRERT - [0:0]\n-A PREROUTING -j ISTIO_PRERT\n-A ISTIO_PRERT -s 169.254.7.127/32 -p tcp -j ACCEPT\nCOMMIT\n"
			alone, s := newSite(t), newSite(t)
			s.exits(0, in(v, asTProxy)...)
			for _, site := range []*site{alone, s} {
				site.Run(t, "*"+table+"\n"+ambient, tool(v, inet.IPv4), "--noflush")
			}
			before := s.state()
			if log := s.exits(1, in(v, asTProxy)...); !strings.Contains(log, "ambient mode") {
				t.Errorf("%s: want a refusal that says ambient, got\n%s", table, log)
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("%s: after the refused apply (-before +after):\n%s", table, diff)
			}
			s.exits(0, cleanCommand)
			if diff := cmp.Diff(alone.state(), s.state()); diff != "" {
				t.Errorf("%s: after clean (-ambient alone +got):\n%s", table, diff)
			}
		}
	})
}

// ambientLines returns the lines of a state that name ambient's chain on the node.
func ambientLines(state string) []string {
	return slices.DeleteFunc(strings.Split(state, "\n"), func(line string) bool { return !strings.Contains(line, "ISTIO_POSTRT") })
}

func TestAmbientNodeKeepsItsRules(t *testing.T) {
	onBothVariants(t, func(t *testing.T, v xtables.Variant) {
		s := withAmbient(t, v, "node")
		before, ambient := s.state(), ambientLines(s.state())
		if len(ambient) != 6 {
			t.Fatalf("want three lines of each family, got %q", ambient)
		}
		s.exits(0, asRedirect...)
		if diff := cmp.Diff(ambient, ambientLines(s.state())); diff != "" {
			t.Errorf("after apply (-before +after):\n%s", diff)
		}
		s.exits(0, cleanCommand)
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("after clean (-before +after):\n%s", diff)
		}
	})
}
