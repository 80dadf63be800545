package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/capture/infer"
	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// withDNS are the flags of a configuration with DNS capture.
var withDNS = flags("-m REDIRECT -i * -b * -d 15020 --redirect-dns --capture-all-dns --drop-invalid")

// A mutation is a foreign change to the rules of one family.
type mutation struct {
	name, text string // text: what iptables-save prints after it
	table      string
	missing    string // the rule that check has to report as missing; "" for none
	unexpected string // the rule or, with a colon before it, the chain that should not exist
}

// mutations deletes each rule, swaps each pair of adjacent rules, duplicates each rule,
// and adds a foreign rule and a foreign chain to ours.
func mutations(save string) []mutation {
	lines := strings.SplitAfter(save, "\n")
	with := func(at, gone int, instead ...string) string {
		return strings.Join(slices.Concat(lines[:at], instead, lines[at+gone:]), "")
	}
	var all []mutation
	add := func(m mutation) { all = append(all, m) }
	table, begun := "", map[string]bool{}
	for i, line := range lines {
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = strings.TrimSpace(name)
			add(mutation{fmt.Sprint(i, " extra chain"), with(i+1, 0, ":ISTIO_EXCLUDE_9 - [0:0]\n"), table, "", ":ISTIO_EXCLUDE_9"})
		}
		chain, rule := ruleOf(line)
		if chain == "" {
			continue
		}
		add(mutation{fmt.Sprint(i, " deleted"), with(i, 1), table, rule, ""})
		add(mutation{fmt.Sprint(i, " doubled"), with(i, 0, line), table, "", rule})
		if nextChain, next := ruleOf(lines[i+1]); nextChain == chain && next != rule {
			add(mutation{fmt.Sprint(i, " swapped"), with(i, 2, lines[i+1], line), table, "", ""})
		}
		if at := table + " " + chain; capture.Owns(chain) && !begun[at] {
			begun[at] = true
			add(mutation{fmt.Sprint(i, " foreign"), with(i, 0, "-A "+chain+" -p tcp -m tcp --dport 7 -j RETURN\n"), table, "", "-p tcp -m tcp --dport 7 -j RETURN"})
		}
	}
	return all
}

// ruleOf parses a line "-A CHAIN RULE"; the chain is "" for any other line.
func ruleOf(line string) (chain, rule string) {
	rest, ok := strings.CutPrefix(line, "-A ")
	if !ok {
		return "", ""
	}
	chain, rule, _ = strings.Cut(strings.TrimSuffix(rest, "\n"), " ")
	return chain, rule
}

// TestCheckDetectsEveryDrift runs check after each mutation; without it there is no
// drift.
func TestCheckDetectsEveryDrift(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, tt := range []struct {
		name string
		v    xtables.Variant
		f    inet.Family
		args []string
	}{
		{"redirect-nft", xtables.NFT, inet.IPv4, asRedirect},
		{"redirect-legacy", xtables.Legacy, inet.IPv6, asRedirect},
		{"tproxy-nft", xtables.NFT, inet.IPv6, asTProxy},
		{"dns-nft", xtables.NFT, inet.IPv4, withDNS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.exits(0, in(tt.v, tt.args)...)
			check := append([]string{"check", "--output", "json"}, tt.args[1:]...)
			before := s.state()
			s.exits(0, check...)
			restore := func(text string) error {
				_, err := s.Try(t, text, tool(tt.v, tt.f))
				return err
			}
			save := s.Save(t, tt.v, tt.f)
			for i, m := range mutations(save) {
				if i%rounds(2, 1) != 0 { // 2 and 3 are coprime: each kind of mutation is in the sample
					continue
				}
				if err := restore(m.text); err != nil {
					t.Fatalf("%s: %v\n%s", m.name, err, m.text)
				}
				answer, code := s.run(check...)
				if code != exitDrifted {
					t.Fatalf("%s: exit code %d, want 1\n%s\n%s", m.name, code, answer, m.text)
				}
				m.isNamed(t, answer, tt.f)
			}
			if err := restore(save); err != nil {
				t.Fatal(err)
			}
			s.exits(0, check...)
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("put back (-want +got):\n%s", diff)
			}
		})
	}
}

// A driftLine is one line of the diff.
type driftLine struct{ Op, Table, Chain, Rule, Reason string }

// isNamed reports whether the diff has the mutation.
func (m mutation) isNamed(t *testing.T, answer string, f inet.Family) {
	t.Helper()
	var d struct {
		InOrder  bool `json:"in_order"`
		Families []struct{ Lines []driftLine }
		Besides  []string
	}
	if err := json.Unmarshal([]byte(answer), &d); err != nil {
		t.Fatalf("%s: %v\n%s", m.name, err, answer)
	}
	says := func(op string, is func(driftLine) bool) bool {
		return slices.ContainsFunc(d.Families[f].Lines, func(l driftLine) bool { return l.Op == op && l.Table == m.table && is(l) })
	}
	other := inet.Families[1-f]
	switch chain, isChain := strings.CutPrefix(m.unexpected, ":"); {
	case d.InOrder, len(d.Besides) > 0, len(d.Families[other].Lines) > 0:
		t.Errorf("%s: want rules of %s alone to have drifted:\n%s", m.name, f, answer)
	case m.missing != "" && !says("missing", func(l driftLine) bool { return l.Rule == m.missing && l.Reason != "" }):
		t.Errorf("%s: %q is not called missing, with its reason:\n%s", m.name, m.missing, answer)
	case isChain && !says("unexpected", func(l driftLine) bool { return l.Rule == "" && l.Chain == chain }),
		m.unexpected != "" && !isChain && !says("unexpected", func(l driftLine) bool { return l.Rule == m.unexpected }):
		t.Errorf("%s: %q is not called unexpected:\n%s", m.name, m.unexpected, answer)
	}
}

// TestRewordedRulesAreNoDrift: another iptables release may print a rule in another way.
func TestRewordedRulesAreNoDrift(t *testing.T) {
	t.Parallel()
	pod := newCountedSite(t)
	args := append(slices.Clone(sidecar[1:]), "--ip-family", "ipv4", "--force-iptables-binary", "nft")
	pod.run(append([]string{applyCommand}, args...)...)
	pod.wrap("iptables-nft-save", `$real "$@" | sed -e '/^# Generated/s/ v[0-9.]*/ v1.99.0/' -e 's/-p tcp -m tcp --dport/-p 6 -m tcp --dport/'`)
	if answer, _ := pod.run(append([]string{"check"}, args...)...); !strings.Contains(answer, "in order: ") {
		t.Errorf("other words are called drift:\n%s", answer)
	}
	pod.sh("ip link add eth0 type veth peer name eth1 && ip addr add 10.0.0.2/24 dev eth0 && ip link set eth0 up")
	pod.sh("iptables-nft -t nat -D ISTIO_OUTPUT 1 && iptables-nft -t nat -A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN")
	if log, _ := pod.run(append([]string{applyCommand}, args...)...); !strings.Contains(log, "rules applied") {
		t.Errorf("another order is taken for other words:\n%s", log)
	}
	if answer, _ := pod.run("trace", "--from", "10.0.0.9", "--to", "10.0.0.2:15021", "--in", "eth0"); !strings.Contains(answer, "not captured, because port 15021 is excluded by -d") {
		t.Errorf("other words are not understood:\n%s", answer)
	}
}

// TestCheckDescribesIstioRules: each rule of every Istio release has a reason, and no
// existing rule is reported as missing.
func TestCheckDescribesIstioRules(t *testing.T) {
	onGenerations(t, func(t *testing.T, g generation, v xtables.Variant) {
		s := newSite(t)
		g.in(s, v)
		for _, f := range inet.Families {
			snapshot, err := iptables.ParseSnapshot(f, s.Save(t, v, f))
			if err != nil {
				t.Fatal(err)
			}
			rs := infer.Infer(snapshot.Ruleset()).Rules
			for _, table := range rs.Tables {
				for _, chain := range table.Chains {
					for _, r := range chain.Rules {
						if capture.Owns(chain.Name) && r.Role == capture.RoleUnknown {
							t.Errorf("%s %s %s: no reason for %s", f, table.Name, chain.Name, r.Text(f))
						}
					}
				}
			}
		}
		before := s.rules()
		answer := s.exits(0, "check")
		if problems := strings.Contains(answer, "problem: "); problems != slices.Contains([]string{"guardrails", "guardrails-in-part", "lost-its-jumps"}, g.name) {
			t.Errorf("problems are seen: %t\n%s", problems, answer)
		}
		s.exits(1, append([]string{"check"}, flags("-i 192.0.2.0/24 -b 7")[1:]...)...)
		s.exits(0, "trace", "--to", "127.0.0.1:80")
		if diff := cmp.Diff(before, s.rules()); diff != "" {
			t.Errorf("looking changed (-before +after):\n%s", diff)
		}
	})
}
