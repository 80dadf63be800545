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

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
	"istio-init/test/size"
)

// The ways in which iptables-restore fails when it is first started. Later it works.
const (
	refuseAll = `if mkdir "$0.failed" 2>/dev/null; then
		line=$(grep -n -e '-j TPROXY' -e '-D OUTPUT' | sed '1!d; s/:.*//')
		echo "${0##*/}: line $line failed" >&2; exit 4
	fi
	exec "$real" "$@"`
	// The tables before the last one are committed.
	refuseLastTable = `if mkdir "$0.failed" 2>/dev/null; then
		awk '{ line[NR] = $0 } /^COMMIT$/ { last = NR }
			END { for (i = 1; i <= NR; i++) { if (i == last) print "-A NO_SUCH_CHAIN -j ACCEPT"; print line[i] } }' |
			"$real" "$@"
		exit
	fi
	exec "$real" "$@"`
	hang = `if mkdir "$0.failed" 2>/dev/null; then exec tail -f /dev/null; fi
	exec "$real" "$@"`
)

// tool returns the name of iptables-restore for a variant and family.
func tool(v xtables.Variant, f inet.Family) string {
	return strings.TrimSuffix(xtables.SaveTool(f), "save") + v.String() + "-restore"
}

// otherVariant returns nft for legacy and legacy for nft.
func otherVariant(v xtables.Variant) xtables.Variant { return xtables.Variants[1-v] }

// Configurations to change between.
var (
	asRedirect = flags("-m REDIRECT -i * -b * -d 15090,15021,15020")
	asTProxy   = flags("-m TPROXY -i 10.0.0.0/8,fd00::/8 -b 80,443 -z 16006 --redirect-dns --capture-all-dns")
	asOther    = flags("-m TPROXY -i * -b * -t 0x100 -r 200 --drop-invalid")
)

func flags(line string) []string {
	return append([]string{applyCommand, "-u", "1337", "--ip-family", "dual"}, strings.Fields(line)...)
}

// noIPv6OnLo takes IPv6 from the loopback interface, to which no address can be
// added then.
const noIPv6OnLo = "echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6"

// failures are the steps of a run that can fail. fail gets the variant of iptables whose
// programs it works on.
var failures = []struct {
	name   string
	own    bool // that of the rules to be; native has none
	moves  bool // that of the rules before, which is another one
	fail   func(s *site, v xtables.Variant)
	to     []string // the configuration that cannot be applied
	log    string   // what it says
	repeat bool     // the next run succeeds
}{
	{
		name: "ipv6-refused", own: true, to: asOther, repeat: true,
		fail: func(s *site, v xtables.Variant) { s.wrap(tool(v, inet.IPv6), refuseAll) },
		log:  `error\trestore rules \(ipv6, \w+\): line \d+ "-A ISTIO_TPROXY .*": exit status 4: .*failed; needs of the kernel: xt_TPROXY; .*\(xt_TPROXY for -m TPROXY\)`,
	},
	{
		name: "last-table-of-ipv6-refused", own: true, to: asOther, repeat: true,
		fail: func(s *site, v xtables.Variant) { s.wrap(tool(v, inet.IPv6), refuseLastTable) },
		log:  `error\trestore rules \(ipv6, \w+\): line \d+ "COMMIT": exit status \d+: .*needs of the kernel: (nft_|iptable_|ip6table_)\w+`,
	},
	{
		name: "last-table-of-ipv4-refused", own: true, to: asOther, repeat: true,
		fail: func(s *site, v xtables.Variant) { s.wrap(tool(v, inet.IPv4), refuseLastTable) },
		log:  `error\trestore rules \(ipv4, \w+\): line \d+ "COMMIT": exit status \d+: .*needs of the kernel: (nft_|iptable_|ip6table_)\w+`,
	},
	{
		name: "no-route-while-lo-is-down", to: asOther,
		fail: func(s *site, _ xtables.Variant) { s.sh("ip link set lo down") },
		log:  `error\tpolicy routing \(ipv\d\), for mode TPROXY: add local default route in table 200 \(needs the capability NET_ADMIN, and lo up\): network is down`,
	},
	{
		name: "table-of-ipv4-taken-by-another-route", to: asOther,
		fail: func(s *site, _ xtables.Variant) { s.sh("ip route add blackhole default table 200") },
		log:  `error\tpolicy routing \(ipv4\), for mode TPROXY: table 200 has another default route; remove that route, or use another table \(--istio-inbound-tproxy-route-table\)`,
	},
	{
		name: "table-of-ipv6-taken-by-another-route", to: asOther,
		fail: func(s *site, _ xtables.Variant) { s.sh("ip -6 route add blackhole default metric 1024 table 200") },
		log:  `error\tpolicy routing \(ipv6\), for mode TPROXY: table 200 has another default route; .* taken back; remove that route, or use another table \(--istio-inbound-tproxy-route-table\)`,
	},
	{
		name: "ipv6-switched-off-for-the-ipv6-address", to: flags("-m REDIRECT -i 10.0.0.0/8 -b 80"),
		fail: func(s *site, _ xtables.Variant) { s.sh(noIPv6OnLo) },
		log:  `error\tadd ::6/128 to lo .*disable_ipv6\): permission denied`,
	},
	{
		name: "variant-before-cannot-be-cleaned", moves: true, to: asOther, repeat: true,
		fail: func(s *site, v xtables.Variant) {
			// A chain of others, or the table would go as a whole, without a script.
			s.restore(v, inet.IPv6, "*nat\n:THEIRS - [0:0]\nCOMMIT\n")
			s.wrap(tool(v, inet.IPv6), refuseAll)
		},
		log: `error\t.*restore rules \(ipv6, \w+\): line \d+ "-D OUTPUT [^"]+": exit status 4`,
	},
	{
		name: "variant-before-cannot-be-emptied", moves: true, to: asOther,
		fail: func(s *site, v xtables.Variant) {
			s.restore(v, inet.IPv4, "*nat\n:THEIRS - [0:0]\n-A THEIRS -j ISTIO_REDIRECT\nCOMMIT\n")
		},
		log: `error\t.*foreign rules jump to them: nat ISTIO_REDIRECT`,
	},
}

// TestRollbackAfterFailedStep lets each step of a run fail, for each state before it.
func TestRollbackAfterFailedStep(t *testing.T) {
	t.Parallel()
	befores := []struct {
		name string
		args []string
	}{{"nothing", nil}, {"redirect", asRedirect}, {"tproxy", asTProxy}}
	for _, b := range backends {
		for _, tt := range failures {
			for _, was := range backends {
				of, programs := was.(xtables.Variant)
				if tt.moves == (was == b) || (tt.own || tt.moves) && !programs {
					continue
				}
				for _, before := range befores {
					sampled := b != native || before.name == "tproxy"
					if tt.moves && before.args == nil || !sampled && !size.Stress() {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/from-%s-in-%s", b, tt.name, before.name, was), func(t *testing.T) {
						t.Parallel()
						s := newSite(t)
						if before.args != nil {
							s.exits(0, in(was, before.args)...)
						}
						tt.fail(s, of)
						want := s.state()
						log := s.exits(1, in(b, tt.to)...)
						if !regexp.MustCompile(tt.log).MatchString(log) {
							t.Errorf("the log does not say %s:\n%s", tt.log, log)
						}
						if diff := cmp.Diff(want, s.state()); diff != "" {
							t.Errorf("left changed (-before +after):\n%s\n%s", diff, log)
						}
						if tt.repeat {
							s.exits(0, in(b, tt.to)...)
						}
					})
				}
			}
		}
	}
}

// TestNoRuleIsChangedIfTheIPv6AddressCannotBeAdded: iptables-restore is not even started.
func TestNoRuleIsChangedIfTheIPv6AddressCannotBeAdded(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.sh(noIPv6OnLo)
			for _, f := range inet.Families {
				s.wrap(tool(v, f), `touch "$0.started"; exec "$real" "$@"`)
			}
			log := s.exits(1, in(v, asRedirect)...)
			started, err := filepath.Glob(filepath.Join(s.wrappers, "*.started"))
			if err != nil || len(started) > 0 {
				t.Errorf("started %v, %v:\n%s", started, err, log)
			}
		})
	}
}

// TestFailedReadIsNotAnEmptyState kills ip6tables-save when IPv6 is no longer wanted.
// Without its address and routes, IPv6 would be captured and broken.
func TestFailedReadIsNotAnEmptyState(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.exits(0, in(v, asTProxy)...)
			want := s.state()
			s.wrap(strings.Replace(tool(v, inet.IPv6), "-restore", "-save", 1), `mkdir "$0.failed" 2>/dev/null && kill -9 $$; exec "$real" "$@"`)
			log := s.exits(1, in(v, asV4Only)...)
			if !regexp.MustCompile(`error\tlook at the rules that are there \(\w+\): .*-save: signal: killed`).MatchString(log) {
				t.Errorf("the log does not say why:\n%s", log)
			}
			if diff := cmp.Diff(want, s.state()); diff != "" {
				t.Errorf("left changed (-before +after):\n%s\n%s", diff, log)
			}
			s.exits(0, in(v, asV4Only)...)
		})
	}
}

// TestHangingIptablesTimesOut: --timeout limits a run.
func TestHangingIptablesTimesOut(t *testing.T) {
	t.Parallel()
	for _, v := range xtables.Variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.exits(0, in(v, asRedirect)...)
			s.wrap(tool(v, inet.IPv6), hang)
			want := s.state()
			log := s.exits(1, append(in(v, asOther), "--timeout", "1s")...)
			if !regexp.MustCompile(`error\t.*: context deadline exceeded`).MatchString(log) {
				t.Errorf("the log does not say why:\n%s", log)
			}
			if diff := cmp.Diff(want, s.state()); diff != "" {
				t.Errorf("left changed (-before +after):\n%s\n%s", diff, log)
			}
			s.exits(0, in(v, asOther)...)
		})
	}
}

// TestMissingModuleIsNamedWithItsFlag hides one userspace extension after the other,
// because a kernel module cannot be hidden.
func TestMissingModuleIsNamedWithItsFlag(t *testing.T) {
	t.Parallel()
	tests := []struct{ module, flags, line, use string }{
		{"xt_owner", "-b 80", "-A ISTIO_OUTPUT .*--uid-owner 1337 .*", "--proxy-uid"},
		{"xt_REDIRECT", "-b 80", "-A ISTIO_\\w+ .*-j REDIRECT .*", "-m REDIRECT and all outbound capture"},
		{"xt_multiport", "-b 80 --redirect-dns --capture-all-dns", "-A ISTIO_OUTPUT .*-m multiport .*", "--redirect-dns"},
		{"xt_CT", "-b 80 --redirect-dns --capture-all-dns", "-A ISTIO_\\w+ .*-j CT .*", "--redirect-dns"},
		{"xt_conntrack", "-b 80 --drop-invalid", "-A PREROUTING .*--ctstate INVALID .*", "--drop-invalid"},
		{"xt_TPROXY", "-b 80 -m TPROXY", "-A ISTIO_TPROXY .*", "-m TPROXY"},
		{"xt_connmark", "-b 80 -m TPROXY", "-A ISTIO_\\w+ .*(CONNMARK|connmark) .*", "-m TPROXY"},
	}
	for _, v := range xtables.Variants {
		for _, tt := range tests {
			t.Run(v.String()+"-"+tt.module, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, "XTABLES_LIBDIR="+extensionsWithout(t, tt.module))
				want := s.state()
				log := s.exits(1, in(v, flags(tt.flags))...)
				if diff := cmp.Diff(want, s.state()); diff != "" {
					t.Errorf("left changed (-before +after):\n%s", diff)
				}
				says := fmt.Sprintf(`(?s)error\trestore rules \(ipv\d, %s\): line \d+ "%s": .*needs of the kernel: .*%s.*\(.*%[3]s for [^;]*%[4]s`, v, tt.line, tt.module, tt.use)
				if !regexp.MustCompile(says).MatchString(log) {
					t.Errorf("the log does not say %s:\n%s", says, log)
				}
			})
		}
	}
}

// extensionsWithout returns a directory with the extensions of iptables but one.
func extensionsWithout(t *testing.T, module string) string {
	t.Helper()
	var files []string
	for _, dir := range []string{"/usr/lib/*/xtables", "/usr/lib/xtables", "/usr/lib64/xtables"} {
		found, err := filepath.Glob(dir + "/lib*.so")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	dir, name := t.TempDir(), "lib"+module+".so"
	if !slices.ContainsFunc(files, func(path string) bool { return filepath.Base(path) == name }) {
		if kernel.Required() {
			t.Fatalf("KERNEL_TESTS=require: the extension %s of iptables is not a file here", name)
		}
		t.Skipf("skipped: the extension %s of iptables is not a file here; Debian's package iptables has it", name)
	}
	for _, path := range files {
		if filepath.Base(path) == name {
			continue
		}
		if err := os.Symlink(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
