package iptables_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/iptables"
	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// TestListedRulesAreThoseOfTheSave: iptables -S and iptables -S -v print what iptables-save
// does, in both variants and families.
func TestListedRulesAreThoseOfTheSave(t *testing.T) {
	onKernels(t, func(t *testing.T, v xtables.Variant) {
		for _, f := range inet.Families {
			ns := kernel.NewNetNS(t)
			wants := [2]iptables.Ruleset{{Family: inet.IPv4}, {Family: inet.IPv6}}
			wants[f] = generate(int(f)+1, f).ruleset()
			apply(t, ns, v, wants)
			base := strings.Replace(strings.TrimSuffix(xtables.SaveTool(f), "-save"), "tables", "tables-"+v.String(), 1)
			output := func(program string, args ...string) string {
				var out []byte
				ns.Do(t, func() (err error) {
					out, err = exec.CommandContext(t.Context(), program, args...).Output()
					return err
				})
				return string(out)
			}
			saved := output(base + "-save")
			want := parseDump(t, saved).States[f]
			var listed string
			for _, table := range want.TableNames() {
				listed += "$ " + base + " -v -S -t " + table + "\n" + output(base, "-v", "-S", "-t", table)
			}
			if diff := cmp.Diff(want.String(), parseDump(t, listed).States[f].String()); diff != "" {
				t.Errorf("%s -v -S (-want +got):\n%s", base, diff)
			}
			if d := parseDump(t, saved); len(d.Edits) > 0 || len(d.Gaps) != 1 {
				t.Errorf("a save has the edits %+v and gaps %+v", d.Edits, d.Gaps)
			}
		}
	})
}

func parseDump(t *testing.T, text string) iptables.Dump {
	t.Helper()
	d, err := iptables.ParseDump(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return d
}
