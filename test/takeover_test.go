package test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/tools/txtar"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/size"
)

// A generation has the rules that one of Istio's tools leaves in a namespace, as it gives
// them to iptables-restore: testdata/takeover. Its sections are
//
//	args                the flags that they are made of, besides the published ones
//	ipv4, both          the rules, for IPv4 or for both families
//	kept, ipv6-kept     the rules that stay; ipv6-kept is also installed
//	before              commands: policy routing and addresses
//	warned              the rules in the warnings of a run
type generation struct {
	name     string
	sections map[string]string
}

// toIPv6 converts Istio's rules for IPv4 to those for IPv6.
var toIPv6 = strings.NewReplacer("127.0.0.1/32", "::1/128", "127.0.0.6/32", "::6/128",
	"10.96.0.10/32", "2001:db8::53/128", "10.0.0.0/8", "fd00::/8", "10.9.0.0/16", "fd09::/16")

// asWritten are the flags for the rules of the current Istio release.
var asWritten = flags("-p 15001 -z 15006 -m REDIRECT -i * -b * -d 15090,15021,15020")

func generations(t *testing.T) []generation {
	t.Helper()
	paths, err := filepath.Glob(testdata + "/takeover/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no generations: %v", err)
	}
	var all []generation
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		g := generation{strings.TrimSuffix(filepath.Base(path), ".txtar"), map[string]string{}}
		for _, f := range archive.Files {
			g.sections[f.Name] = string(f.Data)
		}
		all = append(all, g)
	}
	return all
}

// in installs the rules of Istio's tool in a namespace.
func (g generation) in(s *site, v xtables.Variant) {
	s.t.Helper()
	s.restore(v, inet.IPv4, g.sections["ipv4"]+g.sections["both"])
	s.restore(v, inet.IPv6, toIPv6.Replace(g.sections["both"])+g.sections["ipv6-kept"])
	s.sh(g.sections["before"])
}

// keptIn installs the rules that stay.
func (g generation) keptIn(s *site, v xtables.Variant) {
	s.t.Helper()
	s.restore(v, inet.IPv4, g.sections["kept"])
	s.restore(v, inet.IPv6, g.sections["kept"]+g.sections["ipv6-kept"])
}

// warnings are the warnings of a run in the same variant, sorted.
func (g generation) warnings() []string {
	var lines []string
	for _, f := range inet.Families {
		for rule := range strings.Lines(g.sections["warned"]) {
			lines = append(lines, fmt.Sprintf(`{"family": %q, "rule": %q}`, f, strings.TrimSpace(rule)))
		}
	}
	slices.Sort(lines)
	return lines
}

func (s *site) restore(v xtables.Variant, f inet.Family, script string) {
	s.t.Helper()
	if err := s.Restore(s.t, v, f, script); err != nil {
		s.t.Fatalf("%v\n%s", err, script)
	}
}

var aheadOfOurs = regexp.MustCompile(`warn\tforeign rule ahead of ours, may take connections first\t(.*)`)

// warned returns the foreign rules in the warnings of a log, sorted.
func warned(log string) []string {
	var lines []string
	for _, m := range aheadOfOurs.FindAllStringSubmatch(log, -1) {
		lines = append(lines, m[1])
	}
	slices.Sort(lines)
	return lines
}

// onGenerations runs a test for each generation, in parallel.
func onGenerations(t *testing.T, test func(t *testing.T, g generation, v xtables.Variant)) {
	t.Helper()
	t.Parallel()
	needKernel(t)
	for _, g := range generations(t) {
		for _, v := range xtables.Variants {
			t.Run(g.name+"/"+v.String(), func(t *testing.T) {
				t.Parallel()
				test(t, g, v)
			})
		}
	}
}

// TestApplyTakesOverIstioRules compares with a run in a namespace that has only the rules
// that stay.
func TestApplyTakesOverIstioRules(t *testing.T) {
	onGenerations(t, func(t *testing.T, g generation, v xtables.Variant) {
		fresh, s := newSite(t), newSite(t)
		g.keptIn(fresh, v)
		fresh.exits(0, in(v, asWritten)...)

		g.in(s, v)
		log := s.exits(0, asWritten...)
		if diff := cmp.Diff(fresh.rules(), s.rules()); diff != "" {
			t.Errorf("(-what a fresh run makes +what came out):\n%s\n%s", diff, log)
		}
		if diff := cmp.Diff(g.warnings(), warned(log), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("rules that are warned of (-want +got):\n%s", diff)
		}
		log = s.exits(0, asWritten...)
		if n := strings.Count(log, "rules in order, nothing written"); n != len(inet.Families) {
			t.Errorf("a second run found %d families in order:\n%s", n, log)
		}
	})
}

func TestCleanRemovesIstioRules(t *testing.T) {
	onGenerations(t, func(t *testing.T, g generation, v xtables.Variant) {
		fresh, s := newSite(t), newSite(t)
		g.keptIn(fresh, v)
		g.in(s, v)
		log := s.exits(0, cleanCommand)
		if diff := cmp.Diff(fresh.rules(), s.rules()); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, log)
		}
		log = s.exits(0, cleanCommand)
		if n := strings.Count(log, "nothing to remove"); n != len(xtables.Variants) {
			t.Errorf("a second run found nothing in %d variants:\n%s", n, log)
		}
	})
}

// TestApplyMovesIstioRulesFromAnotherBackend: nothing is redirected twice.
func TestApplyMovesIstioRulesFromAnotherBackend(t *testing.T) {
	onGenerations(t, func(t *testing.T, g generation, v xtables.Variant) {
		for _, to := range others(v) {
			if to == native && v == xtables.Legacy && !size.Stress() {
				continue
			}
			fresh, s := newSite(t), newSite(t)
			g.keptIn(fresh, v)
			fresh.exits(0, in(to, asWritten)...)

			g.in(s, v)
			log := s.exits(0, in(to, asWritten)...)
			if diff := cmp.Diff(fresh.rules(), s.rules()); diff != "" {
				t.Errorf("to %s (-what a fresh run makes +what came out):\n%s\n%s", to, diff, log)
			}
		}
	})
}

// TestRulesMoveToTheForcedBackend changes the backend and back, in each mode.
func TestRulesMoveToTheForcedBackend(t *testing.T) {
	t.Parallel()
	for i, config := range [][]string{asRedirect, asTProxy, asOther} {
		for _, b := range backends {
			for _, to := range others(b) {
				if (b == native || to == native) && i != 1 && !size.Stress() {
					continue
				}
				t.Run(fmt.Sprintf("%s-%s-%d", b, to, i), func(t *testing.T) {
					t.Parallel()
					s := newSite(t)
					s.exits(0, in(b, config)...)
					before := s.state()
					s.exits(0, in(to, config)...)
					for _, f := range inet.Families {
						if text := s.saved(b, f); strings.Contains(text, "ISTIO_") {
							t.Errorf("after the move %s %s holds\n%s", f, b, text)
						}
					}
					s.exits(0, config...) // not forced: the backend stays
					if text := s.saved(to, inet.IPv6); !strings.Contains(text, "ISTIO_") {
						t.Errorf("a run that is not told the backend left it: ipv6 %s holds\n%s", to, text)
					}
					s.exits(0, in(b, config)...)
					if diff := cmp.Diff(before, s.state()); diff != "" {
						t.Errorf("there and back (-before +after):\n%s", diff)
					}
				})
			}
		}
	}
}

// istioNative are the tables of istio-iptables --native-nftables, in mode TPROXY with
// DNS, so that there is one of each.
const istioNative = `
table inet istio-proxy-nat {
	chain prerouting { type nat hook prerouting priority dstnat; policy accept; meta l4proto tcp counter jump istio-inbound; }
	chain output { type nat hook output priority -100; policy accept; counter jump istio-output; }
	chain istio-inbound { tcp dport 15008 counter return; meta l4proto tcp counter jump istio-in-redirect; }
	chain istio-redirect { meta l4proto tcp counter redirect to :15001; }
	chain istio-in-redirect { meta l4proto tcp counter redirect to :15006; }
	chain istio-output { meta skuid 1337 counter return; ip daddr 127.0.0.1 counter return; counter jump istio-redirect; }
}
table inet istio-proxy-mangle {
	chain prerouting { type filter hook prerouting priority -150; policy accept; meta l4proto tcp counter jump istio-inbound; }
	chain output { type route hook output priority -150; policy accept; meta mark 1337 counter ct mark set mark; }
	chain istio-inbound { meta l4proto tcp counter jump istio-tproxy; }
	chain istio-tproxy { meta l4proto tcp ip daddr != 127.0.0.1/32 tproxy ip to :15006 meta mark set 1337 counter accept; }
}
table inet istio-proxy-raw {
	chain output { type filter hook output priority -300; policy accept; udp dport 53 meta skuid 1337 counter ct zone set 1; }
}
`

// theirs is a foreign table.
const theirs = `
table inet proxy {
	chain output { type nat hook output priority -100; policy accept; tcp dport 8888 redirect to :9999; }
}
`

func TestNativeNftablesOfIstioAreRemoved(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		for _, args := range [][]string{in(b, asWritten), {cleanCommand}} {
			t.Run(b.String()+"-"+args[0], func(t *testing.T) {
				t.Parallel()
				fresh, s := newSite(t), newSite(t)
				fresh.Run(t, theirs, "nft", "-f", "-")
				fresh.exits(0, args...)
				s.Run(t, theirs+istioNative, "nft", "-f", "-")
				s.sh("ip rule add fwmark 1337 lookup 133; ip route add local default dev lo table 133")
				log := s.exits(0, args...)
				if diff := cmp.Diff(fresh.sh("nft list tables | sort"), s.sh("nft list tables | sort")); diff != "" {
					t.Errorf("tables of nft (-want +got):\n%s\n%s", diff, log)
				}
				if diff := cmp.Diff(fresh.rules(), s.rules()); diff != "" {
					t.Errorf("(-want +got):\n%s\n%s", diff, log)
				}
			})
		}
	}
}
