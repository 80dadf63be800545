package xtables

import (
	"context"
	"strings"

	"istio-init/iptables"
)

// probe is a chain that no table has.
const probe = "ISTIO_INIT_PROBE"

// foreignRefused returns the foreign rules of which the kernel refuses one, where a table of the
// legacy variant was refused as a whole and is refused as it is, too; nil: the cause is ours.
//
// The variant replaces a table as a whole, and the kernel checks all of its rules anew. A foreign
// rule may not pass again: one that names a file, which is not there in our mount namespace
// (net/netfilter/xt_bpf.c, XT_BPF_MODE_PATH_PINNED). To find out, the table is replaced by
// itself: a chain is made and removed in one transaction.
func (b *Backend) foreignRefused(ctx context.Context, c iptables.Change, refused *RestoreError, script string) []string {
	if b.variant != Legacy || refused.Text != "COMMIT" || !refused.Refused() {
		return nil
	}
	lines := strings.Split(script, "\n")[:refused.Line]
	table := ""
	for _, line := range lines {
		if name, begins := strings.CutPrefix(line, "*"); begins {
			table = name
		}
	}
	rules := c.Own.ForeignRules(c.Before, table)
	if len(rules) == 0 {
		return nil
	}
	p := b.newProcess(b.families[c.Family].restore, append([]string{"--noflush"}, b.waitForLock(ctx)...)...)
	p.stdin, p.mute = "*"+table+"\n-N "+probe+"\n-X "+probe+"\nCOMMIT\n", true
	runAll(ctx, []*process{p})
	if m := refusedLine().FindStringSubmatch(p.stderrText()); p.err == nil || m == nil || m[1] != "4" {
		return nil
	}
	return rules
}
