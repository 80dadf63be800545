package iptables_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
	"istio-init/test/size"
)

// A foreignText is an option with a text of its user, as libxtables prints it.
type foreignText struct {
	name     string
	argv     []string // without the text, which is behind them
	saved    string   // what iptables-save prints for argv
	behind   string   // and behind the text
	most     int      // bytes
	quoted   bool     // by xtables_save_string
	newlines bool     // are allowed
}

var foreignTexts = []foreignText{
	{"comment", strings.Fields("-m comment --comment"), "-m comment --comment", "", 255, true, true},
	{"log-prefix", strings.Fields("-j LOG --log-prefix"), "-j LOG --log-prefix", "", 29, true, false},
	{"nflog-prefix", strings.Fields("-j NFLOG --nflog-prefix"), "-j NFLOG --nflog-prefix", "", 63, true, false},
	{"helper", strings.Fields("-m helper --helper"), "-m helper --helper", "", 29, true, true},
	{"recent", strings.Fields("-m recent --rcheck --name"), "-m recent --rcheck --name", "", 100, false, true},
	{"hashlimit", strings.Fields("-m hashlimit --hashlimit-upto 5/sec --hashlimit-name"), "-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-name", "", 14, false, false},
	{"interface", strings.Fields("-o"), "-o", "", 15, false, false},
}

// text makes a text of any bytes but 0, often of those that mean something to somebody.
func (g generator) text(kind foreignText) string {
	var b strings.Builder
	for most := 1 + g.IntN(kind.most); ; {
		piece := string([]byte{byte(1 + g.IntN(255))})
		if g.chance(60) {
			piece = pick(g, `"`, `\`, `'`, " ", "\t", "\r", "\n", "\x1b[31m", "-", "#", "*nat", "COMMIT", ":A", "[0:0]", "\u00a0", "\u2028", "\xff", "! ", "ISTIO_OUTPUT", `" -j DROP`, `\"`)
		}
		if kind.quoted && kind.newlines && g.chance(5) {
			piece = "\n-A OUTPUT -j ISTIO_OUTPUT\t\n" // a jump for who misses the quotes, and no line of ours to the test
		}
		if b.Len()+len(piece) > most {
			break
		}
		b.WriteString(piece)
	}
	text := b.String()
	if !kind.newlines {
		text = strings.ReplaceAll(text, "\n", "_")
	}
	if !kind.quoted { // names of files in /proc, and words of a rule that nothing tells apart
		text = strings.NewReplacer("/", "_", "+", "_", "!", "_", "-", "_", "\n", "_\n_").Replace(text)
		text = "n" + strings.TrimSpace(text[min(1, len(text)):])
		if g.chance(50) {
			text = `"` + text[1:]
		}
	}
	return text
}

// save returns the rule as iptables-save prints it (xtables_save_string in libxtables).
func (k foreignText) save(text string) string {
	plain := strings.Trim(text, "_-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	if k.quoted && (!plain || text == "") {
		text = `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, `'`, `\'`).Replace(text) + `"`
	}
	return strings.TrimSpace(k.saved + " " + text + " " + k.behind)
}

// TestForeignTextIsNeitherRuleNorQuote reads rules with foreign text before and behind ours.
func TestForeignTextIsNeitherRuleNorQuote(t *testing.T) {
	forCases(t, func(t *testing.T, g generator) {
		var rules []string
		for range 1 + g.IntN(6) {
			kind := pick(g, foreignTexts...)
			rules = append(rules, kind.save(g.text(kind)))
		}
		rules = slices.Insert(rules, g.IntN(len(rules)+1), "-j ISTIO_OUTPUT")
		save := "*filter\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT " + strings.Join(rules, "\n-A OUTPUT ") + "\n-A ISTIO_OUTPUT -j RETURN\nCOMMIT\n"
		s := snapshot(t, g.family, save)
		out := s.Table("filter").Chain("OUTPUT").Rules
		if len(out) != len(rules) || len(s.Table("filter").Chain("ISTIO_OUTPUT").Rules) != 1 {
			t.Errorf("want %d rules and 1, got %d, of\n%s", len(rules), len(out), save)
		}
		own := iptables.OwnISTIO(s)
		for i, live := range out {
			if got, want := own.Jumps("filter", live), rules[i] == "-j ISTIO_OUTPUT"; got != want {
				t.Errorf("%q is ours: want %t, got %t", live.Text, want, got)
			}
		}
	})
}

// TestForeignTextSurvivesOurChanges has rules with foreign text before and behind ours on the
// kernel: three applies make one jump, and clean leaves what was there, byte for byte.
func TestForeignTextSurvivesOurChanges(t *testing.T) {
	onKernels(t, func(t *testing.T, v xtables.Variant) {
		for i := range size.Of(4, 10, 100) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				ns := kernel.NewNetNS(t)
				g := generate(i, inet.IPv4)
				add := func(rule ...string) {
					// The kernel refuses some texts, which then are not there.
					_, _ = ns.Try(t, "", "iptables-"+v.String(), append([]string{"-t", "filter"}, rule...)...)
				}
				someText := func(how string) {
					kind := pick(g, foreignTexts...)
					add(append(append([]string{how, "OUTPUT"}, kind.argv...), g.text(kind))...)
				}
				for range 2 + g.IntN(5) {
					someText("-A")
				}
				wants := [2]iptables.Ruleset{iptables.RulesOf(t, inet.IPv4, "filter OUTPUT -j ISTIO_OUTPUT", "filter ISTIO_OUTPUT -p tcp -j DROP"), {Family: inet.IPv6}}
				for round := range 3 {
					apply(t, ns, v, wants)
					someText(pick(g, "-A", "-I"))
					if n := strings.Count(ns.Save(t, v, inet.IPv4), "\n-A OUTPUT -j ISTIO_OUTPUT\n"); n != 1 {
						t.Fatalf("round %d: want one jump, got %d:\n%s", round, n, ns.Save(t, v, inet.IPv4))
					}
				}
				before := ns.Save(t, v, inet.IPv4)
				want := strings.NewReplacer("-A OUTPUT -j ISTIO_OUTPUT\n", "", "-A ISTIO_OUTPUT -p tcp -j DROP\n", "", ":ISTIO_OUTPUT - [0:0]\n", "").Replace(before)
				apply(t, ns, v, [2]iptables.Ruleset{{Family: inet.IPv4}, {Family: inet.IPv6}})
				if diff := cmp.Diff(want, ns.Save(t, v, inet.IPv4)); diff != "" {
					t.Errorf("clean changed foreign rules (-want +got):\n%s", diff)
				}
			})
		}
	})
}
