package fake_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/fake"
	"istio-init/test/kernel"
)

// base is the state before every script of this file.
const base = `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:EMPTY - [0:0]
:ISTIO_A - [0:0]
:ISTIO_B - [0:0]
-A OUTPUT -p tcp -j ISTIO_A
-A OUTPUT -m comment --comment "two words" -j RETURN
-A ISTIO_A -p tcp -j ISTIO_B
-A ISTIO_B -p tcp -j REDIRECT --to-ports 15001
COMMIT
`

// scripts are inputs on which the fake and the kernel have to agree: whether they are
// accepted, and the state afterwards.
var scripts = []struct {
	name, script string
	refused      bool
}{
	{"nothing", "", false},
	{"comments-and-empty-lines", "# hello\n\n*nat\n# inside\nCOMMIT\n", false},
	{"new-table-has-its-built-in-chains", "*mangle\n:ISTIO_M - [0:0]\nCOMMIT\n", false},
	{"unknown-table", "*nope\nCOMMIT\n", true},
	{"outside-a-table", "-A OUTPUT -j ISTIO_A\n", true},
	{"no-commit", "*nat\n-A OUTPUT -j ISTIO_A\n", true},
	{"unknown-command", "*nat\n-Q OUTPUT\nCOMMIT\n", true},

	{"declare-creates", "*nat\n:ISTIO_C - [0:0]\nCOMMIT\n", false},
	{"declare-empties", "*nat\n:ISTIO_B - [0:0]\nCOMMIT\n", false},
	{"declare-built-in-sets-the-policy-and-keeps-rules", "*nat\n:OUTPUT DROP [0:0]\nCOMMIT\n", false},
	{"declare-built-in-without-policy", "*nat\n:OUTPUT - [0:0]\nCOMMIT\n", false},
	{"declare-name-of-28-bytes", "*nat\n:ISTIO_3456789012345678901234 - [0:0]\nCOMMIT\n", false},
	{"declare-name-too-long", "*nat\n:ISTIO_78901234567890123456789 - [0:0]\nCOMMIT\n", true},

	{"new-chain", "*nat\n-N ISTIO_C\nCOMMIT\n", false},
	{"new-chain-is-there", "*nat\n-N ISTIO_A\nCOMMIT\n", true},
	{"new-chain-is-built-in", "*nat\n-N OUTPUT\nCOMMIT\n", true},
	{"delete-empty-chain", "*nat\n-X EMPTY\nCOMMIT\n", false},
	{"delete-chain-that-is-not-there", "*nat\n-X NOPE\nCOMMIT\n", true},
	{"delete-chain-with-rules", "*nat\n-D OUTPUT -p tcp -j ISTIO_A\n-X ISTIO_A\nCOMMIT\n", true},
	{"delete-chain-that-is-jumped-to", "*nat\n-F ISTIO_B\n-X ISTIO_B\nCOMMIT\n", true},
	{"delete-both-after-flushing-both", "*nat\n-F ISTIO_A\n-F ISTIO_B\n-D OUTPUT -p tcp -j ISTIO_A\n-X ISTIO_A\n-X ISTIO_B\nCOMMIT\n", false},
	{"flush-built-in", "*nat\n-F OUTPUT\nCOMMIT\n", false},
	{"flush-chain-that-is-not-there", "*nat\n-F NOPE\nCOMMIT\n", true},

	{"append-to-undeclared-chain", "*nat\n-A NOPE -j ACCEPT\nCOMMIT\n", true},
	{"jump-to-missing-chain", "*nat\n-A OUTPUT -j NOPE\nCOMMIT\n", true},
	{"jump-to-chain-declared-later", "*nat\n-A OUTPUT -j ISTIO_C\n:ISTIO_C - [0:0]\nCOMMIT\n", true},
	{"goto", "*nat\n-A OUTPUT -g ISTIO_B\nCOMMIT\n", false},
	{"goto-a-target-that-is-no-chain", "*nat\n-A OUTPUT -g ACCEPT\nCOMMIT\n", true},
	{"jump-to-built-in", "*nat\n-A ISTIO_B -j OUTPUT\nCOMMIT\n", true},
	{"jump-back-to-itself", "*nat\n-A ISTIO_B -j ISTIO_A\nCOMMIT\n", true},
	{"jump-in-quotes-is-no-jump", "*nat\n-A ISTIO_B -m comment --comment \"-j ISTIO_A\"\n-A OUTPUT -m comment --comment \"then -j NOPE\" -j EMPTY\nCOMMIT\n", false},
	{"rule-without-words", "*nat\n-A ISTIO_B\nCOMMIT\n", false},
	{"drop-in-nat", "*nat\n-A ISTIO_B -j DROP\nCOMMIT\n", true},
	{"out-interface-in-prerouting", "*nat\n-A PREROUTING -o lo -j ISTIO_A\nCOMMIT\n", true},
	{"in-interface-in-output", "*nat\n-A OUTPUT -i lo -j ISTIO_A\nCOMMIT\n", true},

	{"insert-first", "*nat\n-I OUTPUT -p udp -j ISTIO_A\nCOMMIT\n", false},
	{"insert-in-between", "*nat\n-I OUTPUT 2 -p udp -j ISTIO_A\nCOMMIT\n", false},
	{"insert-at-the-end", "*nat\n-I OUTPUT 3 -p udp -j ISTIO_A\nCOMMIT\n", false},
	{"insert-beyond-the-end", "*nat\n-I OUTPUT 4 -p udp -j ISTIO_A\nCOMMIT\n", true},
	{"insert-at-0", "*nat\n-I OUTPUT 0 -p udp -j ISTIO_A\nCOMMIT\n", true},
	{"delete-rule", "*nat\n-D OUTPUT -p tcp -j ISTIO_A\nCOMMIT\n", false},
	{"delete-rule-with-quotes", "*nat\n-D OUTPUT -m comment --comment \"two words\" -j RETURN\nCOMMIT\n", false},
	{"delete-rule-that-is-not-there", "*nat\n-D OUTPUT -p udp -j ISTIO_A\nCOMMIT\n", true},
	{"delete-first-of-two-equal", "*nat\n-A OUTPUT -p tcp -j ISTIO_A\n-D OUTPUT -p tcp -j ISTIO_A\nCOMMIT\n", false},

	{"table-is-all-or-nothing", "*nat\n:ISTIO_C - [0:0]\n-A OUTPUT -j ISTIO_C\n-X EMPTY\n-X NOPE\nCOMMIT\n", true},
	{"tables-before-stay", "*mangle\n:ISTIO_M - [0:0]\nCOMMIT\n*nat\n-X NOPE\nCOMMIT\n", true},
	{"replace-in-one-transaction", "*nat\n:ISTIO_A - [0:0]\n-F ISTIO_B\n-D OUTPUT -p tcp -j ISTIO_A\n-A ISTIO_A -j RETURN\n-I OUTPUT 1 -j ISTIO_A\n-X ISTIO_B\nCOMMIT\n", false},
}

func TestFakeAcceptsAndRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range scripts {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := load(t)
			if err := k.Restore(tt.script); (err != nil) != tt.refused {
				t.Errorf("refused: want %t, got %v\n%s", tt.refused, err, tt.script)
			}
		})
	}
}

// TestFakeAgreesWithTheKernel compares the fake with the kernel.
func TestFakeAgreesWithTheKernel(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			kernel.NeedVariant(t, v)
			for _, tt := range scripts {
				t.Run(tt.name, func(t *testing.T) {
					ns, k := kernel.NewNetNS(t), load(t)
					if err := ns.Restore(t, v, inet.IPv4, base); err != nil {
						t.Fatal(err)
					}
					want, got := k.Restore(tt.script), ns.Restore(t, v, inet.IPv4, tt.script)
					if (want == nil) != (got == nil) {
						t.Errorf("the fake says %v, the kernel %v, of\n%s", want, got, tt.script)
					}
					if diff := cmp.Diff(k.String(), ns.Save(t, v, inet.IPv4)); diff != "" {
						t.Errorf("after\n%s\n(-fake +kernel):\n%s", tt.script, diff)
					}
				})
			}
		})
	}
}

func load(t *testing.T) *fake.Kernel {
	t.Helper()
	k, err := fake.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFakePrintsWhatItLoaded(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(base, load(t).String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestForeignAndOursSplitAState(t *testing.T) {
	t.Parallel()
	save := base + `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m comment --comment "then -j ISTIO_A"
-A INPUT -j LOG --log-prefix "-j ISTIO_A "
COMMIT
`
	foreign := []string{
		"nat :EMPTY -",
		`nat -A OUTPUT -m comment --comment "two words" -j RETURN`,
		"filter :INPUT DROP",
		`filter -A INPUT -m comment --comment "then -j ISTIO_A"`,
		`filter -A INPUT -j LOG --log-prefix "-j ISTIO_A "`,
	}
	ours := []string{
		"nat :ISTIO_A -", "nat :ISTIO_B -",
		"nat -A OUTPUT -p tcp -j ISTIO_A",
		"nat -A ISTIO_A -p tcp -j ISTIO_B",
		"nat -A ISTIO_B -p tcp -j REDIRECT --to-ports 15001",
	}
	if diff := cmp.Diff(foreign, fake.Foreign(save)); diff != "" {
		t.Errorf("foreign (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(ours, fake.Ours(save)); diff != "" {
		t.Errorf("ours (-want +got):\n%s", diff)
	}
}

// TestFakeAcceptsPrintedRules: the fake is stricter than the kernel, which normalizes a
// rule.
func TestFakeAcceptsPrintedRules(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{
		"-p tcp  -j ISTIO_A", "-p tcp -j ISTIO_A ", "-p tcp\t-j ISTIO_A", `-m comment --comment "open -j ISTIO_A`, `-m comment --comment ""-j ISTIO_A`,
		`-m comment --comment a"b" -j ISTIO_A`, "-m comment --comment \"a\\\" -j ISTIO_A", "-i é -j ISTIO_A",
		"-j ACCEPT -j ISTIO_A", "-j ISTIO_A -p tcp",
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if err := load(t).Restore("*nat\n-A OUTPUT " + rule + "\nCOMMIT\n"); err == nil {
				t.Errorf("want a refusal of %s", rule)
			}
		})
	}
}
