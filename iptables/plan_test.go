package iptables_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/fake"
)

// state returns what iptables-save prints after the lines of iptables-restore,
// which are those of a table nat unless they name another.
func state(t testing.TB, lines ...string) string {
	t.Helper()
	if len(lines) == 0 {
		return ""
	}
	script := strings.Join(append(lines, "COMMIT", ""), "\n")
	if lines[0][0] != '*' {
		script = "*nat\n" + script
	}
	k, err := fake.Load(script)
	if err != nil {
		t.Fatal(err)
	}
	return k.String()
}

func snapshot(t testing.TB, f inet.Family, save string) iptables.Snapshot {
	t.Helper()
	s, err := iptables.ParseSnapshot(f, save)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sidecar are the rules that most cases want.
var sidecar = []string{"nat OUTPUT -j ISTIO_OUTPUT", "nat ISTIO_OUTPUT -o lo -j RETURN", "nat ISTIO_OUTPUT -j ISTIO_REDIRECT", "nat ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001"}

// inPlace is a state that has them.
var inPlace = []string{
	":ISTIO_OUTPUT - [0:0]", ":ISTIO_REDIRECT - [0:0]", "-A OUTPUT -j ISTIO_OUTPUT",
	"-A ISTIO_OUTPUT -o lo -j RETURN", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT", "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001",
}

func with(lines []string, more ...string) []string {
	return append(slices.Clip(lines), more...)
}

// planTests: from have, the script leads to after when the rules are wanted.
var planTests = []struct {
	name   string
	have   []string
	want   []string
	script []string
	after  []string
}{
	{
		name: "fresh", want: sidecar,
		script: []string{
			"*nat", ":ISTIO_OUTPUT - [0:0]", ":ISTIO_REDIRECT - [0:0]", "-A OUTPUT -j ISTIO_OUTPUT",
			"-A ISTIO_OUTPUT -o lo -j RETURN", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT", "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001", "COMMIT",
		},
		after: inPlace,
	},
	{name: "nothing-wanted-and-nothing-there"},
	{name: "nothing-to-do", have: inPlace, want: sidecar, after: inPlace},
	{
		name: "only-the-chain-that-changed", want: sidecar,
		have:   with(inPlace, "-I ISTIO_REDIRECT -p udp -j RETURN"),
		script: []string{"*nat", ":ISTIO_REDIRECT - [0:0]", "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001", "COMMIT"},
		after:  inPlace,
	},
	{
		name: "order-of-rules-counts", want: sidecar,
		have:   with(inPlace, "-D ISTIO_OUTPUT -o lo -j RETURN", "-A ISTIO_OUTPUT -o lo -j RETURN"),
		script: []string{"*nat", ":ISTIO_OUTPUT - [0:0]", "-A ISTIO_OUTPUT -o lo -j RETURN", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT", "COMMIT"},
		after:  inPlace,
	},
	{
		name: "obsolete-chains-go-last", want: sidecar,
		have: with(inPlace, ":ISTIO_OLD - [0:0]", ":ISTIO_OLDER - [0:0]", "-A ISTIO_OLD -j ISTIO_OLDER", "-A ISTIO_OLDER -j RETURN", "-A ISTIO_OUTPUT -j ISTIO_OLD"),
		script: []string{
			"*nat", ":ISTIO_OUTPUT - [0:0]", "-F ISTIO_OLD", "-F ISTIO_OLDER",
			"-A ISTIO_OUTPUT -o lo -j RETURN", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT", "-X ISTIO_OLD", "-X ISTIO_OLDER", "COMMIT",
		},
		after: inPlace,
	},
	{
		name: "foreign-chains-rules-and-policies-stay", want: sidecar,
		have: []string{
			":POSTROUTING DROP [0:0]", ":KUBE - [0:0]", `-A OUTPUT -m comment --comment "two  words" -j KUBE`, "-A POSTROUTING -j MASQUERADE", "-A KUBE -p tcp -j RETURN",
			"COMMIT", "*filter", ":INPUT DROP [0:0]", "-A INPUT -i lo -j ACCEPT",
		},
		script: []string{
			"*nat", ":ISTIO_OUTPUT - [0:0]", ":ISTIO_REDIRECT - [0:0]", "-A OUTPUT -j ISTIO_OUTPUT",
			"-A ISTIO_OUTPUT -o lo -j RETURN", "-A ISTIO_OUTPUT -j ISTIO_REDIRECT", "-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001", "COMMIT",
		},
		after: with(inPlace,
			":POSTROUTING DROP [0:0]", ":KUBE - [0:0]", `-I OUTPUT -m comment --comment "two  words" -j KUBE`, "-A POSTROUTING -j MASQUERADE", "-A KUBE -p tcp -j RETURN",
			"COMMIT", "*filter", ":INPUT DROP [0:0]", "-A INPUT -i lo -j ACCEPT"),
	},
	{
		name: "jump-keeps-its-place", want: sidecar,
		have:   with(inPlace, "-F OUTPUT", "-A OUTPUT -p udp -j ACCEPT", "-A OUTPUT -p tcp -j ISTIO_OUTPUT", "-A OUTPUT -p tcp -j ACCEPT"),
		script: []string{"*nat", "-D OUTPUT -p tcp -j ISTIO_OUTPUT", "-I OUTPUT 2 -j ISTIO_OUTPUT", "COMMIT"},
		after:  with(inPlace, "-F OUTPUT", "-A OUTPUT -p udp -j ACCEPT", "-A OUTPUT -j ISTIO_OUTPUT", "-A OUTPUT -p tcp -j ACCEPT"),
	},
	{
		name: "duplicates-of-a-jump-collapse-to-the-first", want: sidecar,
		have:   with(inPlace, "-A OUTPUT -p udp -j ACCEPT", "-A OUTPUT -j ISTIO_OUTPUT", "-A OUTPUT -p tcp -j ACCEPT", "-A OUTPUT -g ISTIO_OUTPUT", "-A OUTPUT -j ISTIO_OUTPUT"),
		script: []string{"*nat", "-D OUTPUT -j ISTIO_OUTPUT", "-D OUTPUT -j ISTIO_OUTPUT", "-D OUTPUT -g ISTIO_OUTPUT", "-D OUTPUT -j ISTIO_OUTPUT", "-I OUTPUT 1 -j ISTIO_OUTPUT", "COMMIT"},
		after:  with(inPlace, "-A OUTPUT -p udp -j ACCEPT", "-A OUTPUT -p tcp -j ACCEPT"),
	},
	{
		name:   "several-jumps-stand-together-in-their-order",
		want:   []string{"nat OUTPUT -p tcp -j ISTIO_A", "nat OUTPUT -p udp -j ISTIO_B", "nat ISTIO_A", "nat ISTIO_B"},
		have:   []string{":ISTIO_A - [0:0]", ":ISTIO_B - [0:0]", "-A OUTPUT -o lo -j ACCEPT", "-A OUTPUT -p udp -j ISTIO_B", "-A OUTPUT -j ACCEPT"},
		script: []string{"*nat", "-D OUTPUT -p udp -j ISTIO_B", "-I OUTPUT 2 -p tcp -j ISTIO_A", "-I OUTPUT 3 -p udp -j ISTIO_B", "COMMIT"},
		after:  []string{":ISTIO_A - [0:0]", ":ISTIO_B - [0:0]", "-A OUTPUT -o lo -j ACCEPT", "-A OUTPUT -p tcp -j ISTIO_A", "-A OUTPUT -p udp -j ISTIO_B", "-A OUTPUT -j ACCEPT"},
	},
	{
		name: "capture-moves-to-another-table-without-a-gap",
		have: inPlace, want: []string{"mangle PREROUTING -j ISTIO_INBOUND", "mangle ISTIO_INBOUND"},
		script: []string{
			"*mangle", ":ISTIO_INBOUND - [0:0]", "-A PREROUTING -j ISTIO_INBOUND", "COMMIT",
			"*nat", "-F ISTIO_OUTPUT", "-F ISTIO_REDIRECT", "-D OUTPUT -j ISTIO_OUTPUT", "-X ISTIO_OUTPUT", "-X ISTIO_REDIRECT", "COMMIT",
		},
		after: []string{"*mangle", ":ISTIO_INBOUND - [0:0]", "-A PREROUTING -j ISTIO_INBOUND", "COMMIT", "*nat"},
	},
	{
		name: "capture-moves-back-without-a-gap",
		have: []string{"*mangle", ":ISTIO_INBOUND - [0:0]", "-A PREROUTING -j ISTIO_INBOUND"}, want: []string{"nat PREROUTING -j ISTIO_INBOUND", "nat ISTIO_INBOUND"},
		script: []string{
			"*nat", ":ISTIO_INBOUND - [0:0]", "-A PREROUTING -j ISTIO_INBOUND", "COMMIT",
			"*mangle", "-F ISTIO_INBOUND", "-D PREROUTING -j ISTIO_INBOUND", "-X ISTIO_INBOUND", "COMMIT",
		},
		after: []string{":ISTIO_INBOUND - [0:0]", "-A PREROUTING -j ISTIO_INBOUND", "COMMIT", "*mangle"},
	},
	{
		name: "clean", have: inPlace,
		script: []string{"*nat", "-F ISTIO_OUTPUT", "-F ISTIO_REDIRECT", "-D OUTPUT -j ISTIO_OUTPUT", "-X ISTIO_OUTPUT", "-X ISTIO_REDIRECT", "COMMIT"},
		after:  []string{"*nat"},
	},
	{
		name: "clean-leaves-what-is-foreign",
		have: []string{
			":POSTROUTING DROP [0:0]", ":KUBE - [0:0]", ":ISTIO_A - [0:0]", "-A OUTPUT -p udp -j KUBE", `-A OUTPUT -m comment --comment "ours" -j ISTIO_A`,
			`-A OUTPUT -m comment --comment "a \"b\"" -j KUBE`, "-A ISTIO_A -j KUBE", "-A KUBE -m comment --comment ISTIO_A -j RETURN",
		},
		script: []string{"*nat", "-F ISTIO_A", `-D OUTPUT -m comment --comment "ours" -j ISTIO_A`, "-X ISTIO_A", "COMMIT"},
		after: []string{
			":POSTROUTING DROP [0:0]", ":KUBE - [0:0]", "-A OUTPUT -p udp -j KUBE",
			`-A OUTPUT -m comment --comment "a \"b\"" -j KUBE`, "-A KUBE -m comment --comment ISTIO_A -j RETURN",
		},
	},
	{
		name:   "clean-keeps-a-chain-that-a-foreign-chain-jumps-to",
		have:   []string{":KUBE - [0:0]", ":ISTIO_A - [0:0]", ":ISTIO_B - [0:0]", "-A OUTPUT -j KUBE", "-A KUBE -j ISTIO_A", "-A ISTIO_A -j ISTIO_B", "-A ISTIO_B -p tcp -j RETURN"},
		script: []string{"*nat", ":ISTIO_A - [0:0]", "-F ISTIO_B", "-X ISTIO_B", "COMMIT"},
		after:  []string{":KUBE - [0:0]", ":ISTIO_A - [0:0]", "-A OUTPUT -j KUBE", "-A KUBE -j ISTIO_A"},
	},
	{
		name:  "clean-twice-keeps-it",
		have:  []string{":KUBE - [0:0]", ":ISTIO_A - [0:0]", "-A OUTPUT -j KUBE", "-A KUBE -g ISTIO_A"},
		after: []string{":KUBE - [0:0]", ":ISTIO_A - [0:0]", "-A OUTPUT -j KUBE", "-A KUBE -g ISTIO_A"},
	},
	{
		name: "foreign-chain-with-our-name-inside-stays",
		have: []string{":MY_ISTIO_A - [0:0]", "-A OUTPUT -j MY_ISTIO_A"}, after: []string{":MY_ISTIO_A - [0:0]", "-A OUTPUT -j MY_ISTIO_A"},
	},
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, tt := range planTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			have, want := state(t, tt.have...), iptables.RulesOf(t, inet.IPv4, tt.want...)
			script := xtables.Script(iptables.PlanISTIO(snapshot(t, inet.IPv4, have), want))
			lines := ""
			if len(tt.script) > 0 {
				lines = strings.Join(tt.script, "\n") + "\n"
			}
			if diff := cmp.Diff(lines, script); diff != "" {
				t.Errorf("script (-want +got):\n%s", diff)
			}
			checkPlan(t, have, want, state(t, tt.after...))
		})
	}
}

// checkPlan applies a plan to the fake and compares the state it leads to with
// the one that is wanted, and with what With foretold. It returns the state.
func checkPlan(t testing.TB, have string, want iptables.Ruleset, after string) {
	t.Helper()
	before := snapshot(t, want.Family, have)
	script := xtables.Script(iptables.PlanISTIO(before, want))
	k, err := fake.Load(have)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Restore(script); err != nil {
		t.Fatalf("refused: %v\nhave:\n%s\nscript:\n%s", err, have, script)
	}
	got := k.String()
	if diff := cmp.Diff(after, got); diff != "" {
		t.Errorf("after\n%s\n(-want +got):\n%s", script, diff)
	}
	if diff := cmp.Diff(iptables.PlanISTIO(before, want).After.String(), got); diff != "" {
		t.Errorf("after\n%s\n(-With +got):\n%s", script, diff)
	}
	if diff := cmp.Diff(fake.Foreign(have), fake.Foreign(got)); diff != "" {
		t.Errorf("what is not ours changed, by\n%s\n(-before +after):\n%s", script, diff)
	}
	if again := xtables.Script(iptables.PlanISTIO(snapshot(t, want.Family, got), want)); again != "" {
		t.Errorf("a second plan is not empty:\n%s", again)
	}
}

func TestPlanIsOfTheFamilyThatIsWanted(t *testing.T) {
	t.Parallel()
	want := iptables.RulesOf(t, inet.IPv6, "nat OUTPUT -j ISTIO_A", "nat ISTIO_A -d ::1.2.3.4/128 -j RETURN")
	checkPlan(t, "", want, state(t, ":ISTIO_A - [0:0]", "-A OUTPUT -j ISTIO_A", "-A ISTIO_A -d ::1.2.3.4/128 -j RETURN"))
}

// TestPlanLeavesARuleThatOnlyMentionsOurChain is the rule of a monitoring agent
// that counts packets: it has no target, and its comment ends like a jump.
func TestPlanLeavesARuleThatOnlyMentionsOurChain(t *testing.T) {
	t.Parallel()
	have := state(t, `-A OUTPUT -p tcp -m comment --comment "before -j ISTIO_OUTPUT"`)
	checkPlan(t, have, iptables.Ruleset{}, have)
}
