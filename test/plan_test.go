package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/capture"
	"istio-init/iptables/xtables"
	"istio-init/netutil"
	"istio-init/netutil/inet"
)

// takeSteps is a shell script that takes the steps which a plan prints.
const takeSteps = `
flush() {
	case $program in
	"") ;;
	nft) printf '%s' "$script" | nft -f - ;;
	*) printf '%s' "$script" | "$program" --noflush ;;
	esac
	program= script=
}
while IFS= read -r line; do
	case $line in
	"# input for nft "*) flush; program=nft ;;
	"# input for "*) flush; set -- $line; program=${4%-restore}-$7-restore ;;
	"# "*) flush; ${line#??} ;;
	*) script="$script$line
" ;;
	esac
done
flush
`

// everything is what the namespace has, to the byte: the rules of both variants, nf_tables,
// policy routing and addresses. The legacy variant keeps tables that have nothing in them;
// they are left out. Tables of nf_tables are in the order of their names: of two families,
// which are changed at the same time, either may be first. The kernel adds the local route of
// a new address some time after the address.
func (s *site) everything() string {
	s.t.Helper()
	s.Do(s.t, func() error { return netutil.AwaitLoopbackAddr(s.t.Context(), capture.Passthrough(inet.IPv6)) })
	return s.rules() + s.sh(`nft list tables | sort | while read table; do nft list $table; done; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; ip addr`)
}

// takes takes the steps of a plan.
func (s *site) takes(plan string) {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "plan")
	if err := os.WriteFile(path, []byte(plan), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.sh("exec <" + path + takeSteps)
}

// withPlan adds --plan.
func withPlan(args []string) []string {
	return append(slices.Clone(args), "--plan", "--log_output_level", "none")
}

// TestThePlanIsWhatARunDoes takes the steps that --plan prints by hand, and compares with
// what the run leaves. The print changes nothing, and after a run the plan is empty.
func TestThePlanIsWhatARunDoes(t *testing.T) {
	t.Parallel()
	for n, b := range backends {
		for i, tt := range killedChanges {
			t.Run(b.String()+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				from, to := asClean, tt.to
				if tt.from != nil {
					from = in(b, tt.from)
				}
				if tt.moves {
					from = in(others(b)[(n+i)%2], tt.from)
				}
				if to[0] != cleanCommand {
					to = in(b, to)
				}
				start := func() *site {
					s := newSite(t)
					s.exits(0, from...)
					s.sh("nft add table inet istio-proxy-nat; nft add chain inet istio-proxy-nat output")
					return s
				}
				byHand, byRun := start(), start()
				before := byHand.everything()
				plan := byHand.exits(0, withPlan(to)...)
				if diff := cmp.Diff(before, byHand.everything()); diff != "" {
					t.Fatalf("--plan changed (-before +after):\n%s", diff)
				}
				if !strings.HasSuffix(plan, "# nft delete table inet istio-proxy-nat\n") && tt.to[0] != cleanCommand {
					t.Errorf("the last step is not the removal of Istio's table:\n%s", plan)
				}
				byHand.takes(plan)
				byRun.exits(0, to...)
				if diff := cmp.Diff(byRun.everything(), byHand.everything()); diff != "" {
					t.Errorf("the run (-) and its plan by hand (+):\n%s\n%s", diff, plan)
				}
				if again := byRun.exits(0, withPlan(to)...); again != "" {
					t.Errorf("planned after a run:\n%s", again)
				}
			})
		}
	}
}

// TestCleanLeavesTheNamespaceAsItWas is for all that clean removes, and for the preview,
// which names each thing.
func TestCleanLeavesTheNamespaceAsItWas(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			before := s.everything()
			s.exits(0, in(b, asTProxy)...)
			s.sh("nft add table inet istio-proxy-nat; nft add table inet istio-proxy-mangle")
			applied := s.everything()
			preview := s.exits(0, cleanCommand, "--dry-run", "--log_output_level", "none")
			if diff := cmp.Diff(applied, s.everything()); diff != "" {
				t.Errorf("the preview changed (-before +after):\n%s", diff)
			}
			names := []string{
				"# ip rule del fwmark 0x539 lookup 133", "# ip route del local default dev lo table 133",
				"# ip -6 rule del fwmark 0x539 lookup 133", "# ip -6 route del local default dev lo table 133",
				"# ip -6 address del ::6/128 dev lo", "# nft delete table inet istio-proxy-nat", "# nft delete table inet istio-proxy-mangle",
			}
			if b == native {
				names = append(names, "delete table ip istio-init", "delete table ip6 istio-init")
			} else {
				names = append(names, fmt.Sprintf("# input for iptables-restore --noflush, variant %s", b), fmt.Sprintf("# input for ip6tables-restore --noflush, variant %s", b))
			}
			if b == xtables.NFT {
				names = append(names, "# nft delete table ip nat # if nothing else is in it", "# nft delete table ip6 mangle # if nothing else is in it")
			}
			for _, line := range names {
				if !regexp.MustCompile("(?m)^" + regexp.QuoteMeta(line) + "$").MatchString(preview) {
					t.Errorf("the preview does not name %q:\n%s", line, preview)
				}
			}
			s.exits(0, cleanCommand)
			if diff := cmp.Diff(before, s.everything()); diff != "" {
				t.Errorf("after clean (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAPreviewLoads gives the preview of one family to its restore program.
func TestAPreviewLoads(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.exits(0, in(v, flags("-m TPROXY -i * -b * --ip-family ipv4"))...)
			preview := s.exits(0, cleanCommand, "--dry-run", "--log_output_level", "none")
			path := filepath.Join(t.TempDir(), "preview")
			if err := os.WriteFile(path, []byte(preview), 0o600); err != nil {
				t.Fatal(err)
			}
			s.sh("iptables-" + v.String() + "-restore --noflush <" + path)
			if rules := s.rules(); strings.Contains(rules, "ISTIO_") {
				t.Errorf("left:\n%s", rules)
			}
		})
	}
}
