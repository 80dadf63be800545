package test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// neighbours are foreign rules for both families, from the sections of
// testdata/neighbours/rules.txtar.
type neighbours map[string][2]string

// otherAddresses converts rules for IPv4 to IPv6.
var otherAddresses = strings.NewReplacer("127.0.0.0/8", "::1/128", "127.0.0.1/32", "::1/128", "172.17.0.0/16", "fd17::/64",
	"172.17.0.2:80", "[fd17::2]:80", "172.30.0.5/32", "fd30::5/128", "172.30.1.7/32", "fd30::1:7/128", "172.30.1.7:6443", "[fd30::1:7]:6443",
	"172.30.9.1/32", "fd30::9:1/128", "172.30.0.0/16", "fd30::/64", "172.30.1.9:443", "[fd30::1:9]:443", "-p icmp ", "-p ipv6-icmp ")

func loadNeighbours(t *testing.T) neighbours {
	t.Helper()
	archive, err := txtar.ParseFile(testdata + "/neighbours/rules.txtar")
	if err != nil {
		t.Fatal(err)
	}
	n := neighbours{}
	for _, f := range archive.Files {
		n[f.Name] = [2]string{string(f.Data), otherAddresses.Replace(string(f.Data))}
	}
	return n
}

// moveIn installs a section in a namespace, with its counters.
func (n neighbours) moveIn(s *site, v xtables.Variant, section string) {
	s.t.Helper()
	for _, f := range inet.Families {
		s.Run(s.t, n[section][f], tool(v, f), "--noflush", "--counters")
	}
}

// warnings are the warnings of a run, from these sections, sorted.
func (n neighbours) warnings(sections ...string) []string {
	var lines []string
	for _, f := range inet.Families {
		for _, section := range sections {
			for rule := range strings.Lines(n[section][f]) {
				lines = append(lines, fmt.Sprintf(`{"family": %q, "rule": %s}`, f, strconv.Quote(strings.TrimSpace(rule))))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// ourLine matches a line of iptables-save -c that is ours. The same text in a comment
// ends with a quote.
var ourLine = regexp.MustCompile(`(?m)^(:ISTIO_.*|\[\d+:\d+\] -A ISTIO_.*|\[\d+:\d+\] -A \S+ (\S.* )?-[jg] ISTIO_\w+)\n`)

// foreign returns the foreign rules, byte for byte, with their counters. The counters of
// policies are not compared: iptables-legacy resets them whenever a rule is added to the
// table (1.8.9, observed with -A).
func (s *site) foreign(v xtables.Variant) string {
	s.t.Helper()
	var text strings.Builder
	for _, f := range inet.Families {
		save := s.Run(s.t, "", strings.Replace(tool(v, f), "restore", "save", 1), "-c")
		text.WriteString(heldText(ourLine.ReplaceAllString(save, "")))
	}
	return text.String()
}

// TestForeignRulesStayByteForByte changes between all configurations.
func TestForeignRulesStayByteForByte(t *testing.T) {
	t.Parallel()
	needKernel(t)
	steps := []struct {
		name string
		args []string
	}{
		{"again", asRedirect},
		{"tproxy", asTProxy},
		{"other-tproxy", asOther},
		{"dns", flags("-m REDIRECT -i * -b * --redirect-dns --capture-all-dns")},
		{"virtual-and-excluded", flags("-m REDIRECT -i 10.0.0.0/8 -b 80 -k eth1 -c net1")},
		{"one-family", append(flags("-m REDIRECT -i * -b *"), "--ip-family", "ipv4")},
		{"none", flags("-m NONE")},
		{"back", asRedirect},
		{"clean", []string{cleanCommand}},
	}
	for _, b := range backends {
		for _, v := range xtables.Variants { // of the foreign rules
			if b != native && b != v {
				continue
			}
			t.Run(b.String()+"/beside-"+v.String(), func(t *testing.T) {
				t.Parallel()
				n, s := loadNeighbours(t), newSite(t)
				n.moveIn(s, v, "before")
				s.sh(fmt.Sprintf(`for tool in iptables-%s ip6tables-%[1]s; do
					$tool -t nat -A OUTPUT -p udp -m comment --comment "$(printf 'two lines\n-A OUTPUT -j ISTIO_OUTPUT')" -j RETURN
				done`, v))
				before := s.foreign(v)
				s.exits(0, in(b, asRedirect)...)
				if diff := cmp.Diff(before, s.foreign(v)); diff != "" {
					t.Fatalf("the first run changed (-before +after):\n%s", diff)
				}
				n.moveIn(s, v, "after")
				before = s.foreign(v)
				for _, step := range steps {
					args := step.args // not forced: the backend stays
					if step.name == "back" {
						args = in(b, args) // there are none of ours that could stay
					}
					s.exits(0, args...)
					if diff := cmp.Diff(before, s.foreign(v)); diff != "" {
						t.Fatalf("%s changed (-before +after):\n%s", step.name, diff)
					}
					for _, other := range others(b) {
						if text := s.saved(other, inet.IPv4); strings.Contains(text, "\n:ISTIO_") {
							t.Fatalf("%s has moved to %s:\n%s", step.name, other, text)
						}
					}
				}
				for _, f := range inet.Families {
					if left := ourLine.FindString(s.Run(t, "", saver(v, f), "-c")); left != "" {
						t.Errorf("after clean there is still %s", left)
					}
				}
				if left := s.sh("nft list tables"); strings.Contains(left, programName) {
					t.Errorf("after clean there is still %s", left)
				}
			})
		}
	}
}

// TestForeignRulesStayWhenOursChangeBackend has foreign rules in both variants.
func TestForeignRulesStayWhenOursChangeBackend(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			n, s := loadNeighbours(t), newSite(t)
			both := func() string { return s.foreign(xtables.NFT) + s.foreign(xtables.Legacy) }
			for _, each := range xtables.Variants {
				n.moveIn(s, each, "before")
			}
			before := both()
			for _, args := range [][]string{in(b, asTProxy), in(others(b)[0], asRedirect), in(b, asOther), in(others(b)[1], asDNS), {cleanCommand}} {
				s.exits(0, args...)
				if diff := cmp.Diff(before, both()); diff != "" {
					t.Fatalf("%s changed (-before +after):\n%s", strings.Join(args, " "), diff)
				}
			}
		})
	}
}

// TestForeignRulesAheadOfOursAreWarnings compares the warnings of every run with the
// list. DNS queries over UDP are captured too.
func TestForeignRulesAheadOfOursAreWarnings(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			n, s := loadNeighbours(t), newSite(t)
			args := in(b, flags("-m REDIRECT -i * -b * --redirect-dns --capture-all-dns --drop-invalid"))
			v, before, after := xtables.NFT, []string{"warned-by-native"}, []string{"warned-by-native", "warned-after-by-native"}
			if b != native {
				v, before, after = b.(xtables.Variant), []string{"warned"}, []string{"warned", "warned-after"}
			}
			n.moveIn(s, v, "before")
			for _, run := range []string{"first", "second"} {
				log := s.exits(0, args...)
				if diff := cmp.Diff(n.warnings(before...), warned(log)); diff != "" {
					t.Errorf("%s run warns (-want +got):\n%s", run, diff)
				}
			}
			n.moveIn(s, v, "after")
			if diff := cmp.Diff(n.warnings(after...), warned(s.exits(0, args...))); diff != "" {
				t.Errorf("with rules behind ours, and before them for other traffic (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCleanNamesRemainingRules: a foreign rule jumps to one of our chains.
func TestCleanNamesRemainingRules(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, v := range xtables.Variants {
		for _, f := range inet.Families {
			t.Run(fmt.Sprintf("%s-%s", v, f), func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.exits(0, in(v, asRedirect)...)
				s.restore(v, f, "*nat\n:THEIRS - [0:0]\n-A THEIRS -p tcp -m tcp --dport 80 -j ISTIO_REDIRECT\nCOMMIT\n")
				says := fmt.Sprintf(`error\t%s %s: .*: nat ISTIO_REDIRECT\n`, f, v)
				for range 2 { // the second run names it again
					if log := s.exits(1, cleanCommand); !regexp.MustCompile(says).MatchString(log) {
						t.Errorf("the log does not say %s:\n%s", says, log)
					}
				}
				want := "*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n" +
					":ISTIO_REDIRECT -\n:THEIRS -\n-A THEIRS -p tcp -m tcp --dport 80 -j ISTIO_REDIRECT\nCOMMIT\n"
				if diff := cmp.Diff(want, heldText(s.Save(t, v, f))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				s.exits(0, asRedirect...) // apply reuses the chain
				s.restore(v, f, "*nat\n-F THEIRS\n-X THEIRS\nCOMMIT\n")
				s.exits(0, cleanCommand)
				if left := heldText(s.Save(t, v, f)); left != "" {
					t.Errorf("once nobody holds it, clean leaves\n%s", left)
				}
			})
		}
	}
}
