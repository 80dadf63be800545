package iptables_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/fake"
	"istio-init/test/kernel"
	"istio-init/test/size"
)

// freshCases and changeCases are how many random cases are tried on the kernel, for
// each variant and family. A case that changes what is there waits for the kernel
// several times (nft: one RCU grace period for each transaction that deletes).
func freshCases() int  { return size.Of(5, 20, 100) }
func changeCases() int { return size.Of(3, 8, 50) }

// onKernels runs a test on both variants.
func onKernels(t *testing.T, test func(t *testing.T, v xtables.Variant)) {
	t.Helper()
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			kernel.NeedVariant(t, v)
			test(t, v)
		})
	}
}

// read reads a variant in a namespace, whatever it has.
func read(t *testing.T, ns *kernel.NetNS, v xtables.Variant) (b *xtables.Backend, have inet.PerFamily[xtables.FamilyState]) {
	t.Helper()
	config := xtables.Config{Owner: iptables.OwnISTIO}
	for _, f := range inet.Families {
		config.Tables[f] = []string{"to be read"}
	}
	ns.Do(t, func() error {
		b = xtables.New(t.Context(), v, config)
		have = b.Read(t.Context())
		return nil
	})
	return b, have
}

// apply plans both families and commits them together.
func apply(t *testing.T, ns *kernel.NetNS, v xtables.Variant, wants [2]iptables.Ruleset) []iptables.Change {
	t.Helper()
	b, have := read(t, ns, v)
	var changes []iptables.Change
	for _, want := range wants {
		change, err := xtables.Plan(v, have[want.Family], want)
		if err != nil {
			t.Fatal(err)
		}
		if !change.Empty() {
			changes = append(changes, change)
		}
	}
	ns.Do(t, func() error {
		_, err := b.Commit(t.Context(), changes)
		return err
	})
	return changes
}

// checkNothingToDo reads again and plans the same.
func checkNothingToDo(t *testing.T, ns *kernel.NetNS, v xtables.Variant, wants [2]iptables.Ruleset) {
	t.Helper()
	_, have := read(t, ns, v)
	for _, want := range wants {
		change, err := xtables.Plan(v, have[want.Family], want)
		if err != nil {
			t.Fatal(err)
		}
		if !change.Empty() {
			t.Errorf("%s: a second plan is not empty:\n%s", want.Family, xtables.Script(change))
		}
	}
}

// TestKernelPrintsOurText is the law that our text is the kernel's.
func TestKernelPrintsOurText(t *testing.T) {
	onKernels(t, func(t *testing.T, v xtables.Variant) {
		for i := range freshCases() {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				ns := kernel.NewNetNS(t)
				wants := [...]iptables.Ruleset{generate(i, inet.IPv4).ruleset(), generate(i, inet.IPv6).ruleset()}
				apply(t, ns, v, wants)
				for f, want := range wants {
					if diff := cmp.Diff(want.String(), ns.Save(t, v, inet.Family(f))); diff != "" {
						t.Errorf("%s (-ours +kernel's):\n%s", want.Family, diff)
					}
				}
				checkNothingToDo(t, ns, v, wants)
			})
		}
	})
}

// TestKernelConvergesFromAnyState loads a random state, applies other rules and
// cleans: what is not ours stays the same all the way.
func TestKernelConvergesFromAnyState(t *testing.T) {
	onKernels(t, func(t *testing.T, v xtables.Variant) {
		for i := range changeCases() {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				ns := kernel.NewNetNS(t)
				var haves [2]string
				var wants, none [2]iptables.Ruleset
				for _, f := range inet.Families {
					g := generate(i, f)
					haves[f], wants[f], none[f] = g.state(t), g.ruleset(), iptables.Ruleset{Family: f}
					if err := ns.Restore(t, v, f, haves[f]); err != nil {
						t.Fatalf("%v, of\n%s", err, haves[f])
					}
					if diff := cmp.Diff(haves[f], ns.Save(t, v, f)); diff != "" {
						t.Fatalf("%s: the kernel has another state (-want +got):\n%s", f, diff)
					}
				}
				for _, step := range [][2]iptables.Ruleset{wants, none} {
					for _, change := range apply(t, ns, v, step) {
						if diff := cmp.Diff(change.After.String(), ns.Save(t, v, change.Family)); diff != "" {
							t.Errorf("%s: after\n%s\n(-want +got):\n%s", change.Family, xtables.Script(change), diff)
						}
					}
					for _, f := range inet.Families {
						if diff := cmp.Diff(fake.Foreign(haves[f]), fake.Foreign(ns.Save(t, v, f))); diff != "" {
							t.Errorf("%s: what is not ours changed (-before +after):\n%s", f, diff)
						}
					}
					checkNothingToDo(t, ns, v, step)
				}
			})
		}
	})
}

// TestRefusedCommitRestoresTheRules has good rules for IPv4 and some for
// IPv6 that the kernel refuses: neither family may keep any.
func TestRefusedCommitRestoresTheRules(t *testing.T) {
	onKernels(t, func(t *testing.T, v xtables.Variant) {
		ns := kernel.NewNetNS(t)
		before := state(t, ":KUBE - [0:0]", ":ISTIO_OUTPUT - [0:0]", "-A OUTPUT -p udp -j ISTIO_OUTPUT", "-A OUTPUT -j KUBE", "-A ISTIO_OUTPUT -p tcp -j RETURN")
		for _, f := range inet.Families {
			if err := ns.Restore(t, v, f, before); err != nil {
				t.Fatal(err)
			}
		}
		b, have := read(t, ns, v)
		good, err := xtables.Plan(v, have[inet.IPv4], iptables.RulesOf(t, inet.IPv4, sidecar...))
		if err != nil {
			t.Fatal(err)
		}
		bad := iptables.Change{Family: inet.IPv6, Edits: []iptables.TableEdit{{Table: "nat", Declare: []string{"ISTIO_NEW"}, Add: []iptables.RuleEdit{
			{Chain: "OUTPUT", Rule: iptables.LiveRule{Text: "-j ISTIO_NEW"}},
			{Chain: "OUTPUT", Rule: iptables.LiveRule{Text: "--no-such-option"}},
		}}}}
		bad.Before, bad.After, bad.Own = have[inet.IPv6].Rules, have[inet.IPv6].Rules, have[inet.IPv6].Own

		var refusal error
		ns.Do(t, func() error {
			_, refusal = b.Commit(t.Context(), []iptables.Change{good, bad})
			return nil
		})
		var e *xtables.RestoreError
		if !errors.As(refusal, &e) {
			t.Fatalf("want a RestoreError, got %v", refusal)
		}
		if e.Family != inet.IPv6 || e.Variant != v || e.Line != 4 || e.Text != "-A OUTPUT --no-such-option" {
			t.Errorf("want line 4 of ipv6 %s, got %+v", v, e)
		}
		if strings.Contains(refusal.Error(), "put the rules back") {
			t.Errorf("could not go back: %v", refusal)
		}
		for _, f := range inet.Families {
			if diff := cmp.Diff(before, ns.Save(t, v, f)); diff != "" {
				t.Errorf("%s (-before +after):\n%s", f, diff)
			}
		}
	})
}

// TestSurveyIsReadOnly reads a namespace that no packet filter was used in.
func TestSurveyIsReadOnly(t *testing.T) {
	onKernels(t, func(t *testing.T, v xtables.Variant) {
		ns := kernel.NewNetNS(t)
		checkNothingToDo(t, ns, v, [2]iptables.Ruleset{{Family: inet.IPv4}, {Family: inet.IPv6}})
		for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
			if got := ns.Run(t, "", "cat", "/proc/self/net/"+file); got != "" {
				t.Errorf("%s: want no table, got %s", file, got)
			}
		}
		kernel.Need(t, "nft")
		if got := ns.Run(t, "", "nft", "list", "ruleset"); got != "" {
			t.Errorf("want no nf_tables, got\n%s", got)
		}
	})
}
