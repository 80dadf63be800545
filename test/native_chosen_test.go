package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/test/pod"
	"istio-init/test/scenario"
)

// onlyPrograms runs a command where, of the programs of the system, only those are in /usr/sbin
// that match a pattern.
const onlyPrograms = `
pattern=$1
shift
mount -t tmpfs none /mnt
mkdir /mnt/sbin
mount --bind /usr/sbin /mnt/sbin
mount -t tmpfs none /usr/sbin
for program in /mnt/sbin/*; do
	case ${program##*/} in $pattern) ln -s "$program" /usr/sbin ;; esac
done
exec "$@"`

// A kernelWithout lets the kernel answer a program, and those that it starts, as one without
// some of its parts does.
type kernelWithout struct {
	compat, legacy bool
	expression     string // of the last rule that has it
	buffer         bool   // as large as is asked for
}

// before changes requests such that the kernel itself refuses them: one to nft_compat into one
// to a subsystem of nfnetlink that does not exist, the name of a file that ip_tables has into
// none, that of an expression into another one, and the size of a buffer into the least.
func (k kernelWithout) before(thread int, call syscallInfo) {
	switch call.number {
	case unix.SYS_SENDTO:
		const none = 0x7f // nfnetlink_get_subsys in net/netfilter/nfnetlink.c
		if kind, _, ok := netlinkHeader(thread, call); ok && k.compat && kind>>8 == unix.NFNL_SUBSYS_NFT_COMPAT {
			_, _ = unix.PtracePokeData(thread, uintptr(call.args[1])+4, binary.NativeEndian.AppendUint16(nil, none<<8))
		}
		if k.expression != "" && commits(thread, call) {
			batch := make([]byte, call.args[2])
			n, _ := unix.PtracePeekData(thread, uintptr(call.args[1]), batch)
			if at := bytes.LastIndex(batch[:n], []byte(k.expression+"\x00")); at >= 0 {
				_, _ = unix.PtracePokeData(thread, uintptr(call.args[1])+uintptr(at), []byte{'x'})
			}
		}
	case unix.SYS_SETSOCKOPT:
		if k.buffer && call.args[1] == unix.SOL_SOCKET && (call.args[2] == unix.SO_SNDBUF || call.args[2] == unix.SO_SNDBUFFORCE) {
			_, _ = unix.PtracePokeData(thread, uintptr(call.args[3]), make([]byte, 4))
		}
	case unix.SYS_OPENAT:
		path := make([]byte, 40)
		n, _ := unix.PtracePeekData(thread, uintptr(call.args[1]), path)
		if k.legacy && bytes.Contains(path[:n], []byte("_tables_names")) {
			_, _ = unix.PtracePokeData(thread, uintptr(call.args[1]), []byte{0})
		}
	}
}

// TestNativeIsChosenWhereIptablesCannotWork calls the program as Istio's injector does, by the
// name of Istio's, and makes connections.
func TestNativeIsChosenWhereIptablesCannotWork(t *testing.T) {
	needKernel(t)
	s := scenario.Load(t, testdata, "published-current")
	config := s.Config(t)
	for _, tt := range []struct {
		name, programs string // in /usr/sbin
		kernel         kernelWithout
		reason         string
	}{
		{"no-program", "", kernelWithout{}, `ipv4 nft: neither iptables-nft-restore nor iptables-restore is installed: .*ipv4 legacy: neither`},
		{"no-nft_compat-and-no-legacy-program", "*tables-nft*", kernelWithout{compat: true}, `nf_tables has no iptables support \(nft_compat, xt_REDIRECT\): .*ipv4 legacy: neither`},
		{"no-nft_compat-and-no-ip_tables", "*tables*", kernelWithout{compat: true, legacy: true}, `nf_tables has no iptables support .*the kernel has no legacy iptables here \(no /proc/net/ip_tables_names\)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pod.New(t, config)
			run := func(args ...string) string {
				t.Helper()
				cmd := exec.Command("unshare", append([]string{"--mount", "/bin/sh", "-ec", onlyPrograms, "sh", tt.programs}, args...)...)
				cmd.Env = []string{"PATH=" + filepath.Dir(built) + ":/usr/bin:/usr/sbin"}
				tr := &tracer{before: tt.kernel.before}
				exit, said, err := tr.run(p.Pod.Path(), cmd)
				if err != nil || exit != 0 {
					t.Fatalf("%s: exit code %d, %v:\n%s", args, exit, err, said)
				}
				return said
			}
			line := append([]string{filepath.Join(filepath.Dir(built), istiosNames[0])}, s.Args...)
			log := run(line...)
			if lines := regexp.MustCompile("(?m)^.*no variant of iptables is usable.*$").FindAllString(log, -1); len(lines) != 1 || !regexp.MustCompile(tt.reason).MatchString(lines[0]) {
				t.Errorf("want one line that says %s:\n%s", tt.reason, log)
			}
			if answer := run(built, "check"); !strings.Contains(answer, "the live rules (nftables)") {
				t.Errorf("check does not say native:\n%s", answer)
			}
			if plan := run(append(line, "--plan")...); strings.Contains(plan, "table ip") {
				t.Errorf("planned after a run:\n%s", plan)
			}
			stage{s, config}.connect(t, p, xtables.NFT)
			run(built, cleanCommand)
			if left := nftRuleset(t, p); left != "" {
				t.Errorf("clean leaves\n%s", left)
			}
			if plan := run(append(line, "--plan")...); !strings.Contains(plan, "# input for nft -f\ntable ip istio-init {") {
				t.Errorf("the plan does not tell the backend:\n%s", plan)
			}
		})
	}
}

// TestNativeStartsNoProgram has strace(1) list what is started.
func TestNativeStartsNoProgram(t *testing.T) {
	t.Parallel()
	needKernel(t, "strace")
	s := newSite(t)
	list := filepath.Join(s.wrappers, "started")
	for _, args := range [][]string{in(native, asTProxy), in(native, asTProxy), in(native, asDNS), checkOf(native, asDNS), {"check"}, asDNS, {cleanCommand}} {
		log, code := s.start("/usr/bin/strace", append([]string{"-f", "-qq", "-o", list, "-e", "trace=execve,execveat,fork,vfork", built}, args...)...)
		if code != 0 {
			t.Fatalf("%s: exit code %d:\n%s", args, code, log)
		}
		started, err := os.ReadFile(list)
		if err != nil || bytes.Count(started, []byte("exec")) != 1 || bytes.Contains(started, []byte("fork")) {
			t.Errorf("%s: %v, started:\n%s", args, err, started)
		}
	}
}

// asImage runs a program in a root file system that has nothing but it and /proc, as another
// user. The capabilities are those of its file.
const asImage = `
mount -t tmpfs none /mnt
mkdir /mnt/proc
mount --rbind /proc /mnt/proc
cp -a "$1" /mnt/program
shift
mount -o remount,ro /mnt
exec chroot --userspec=1337:1337 /mnt /program "$@"`

// TestNativeWorksInAnImageOfTheProgramAlone compares with root.
func TestNativeWorksInAnImageOfTheProgramAlone(t *testing.T) {
	t.Parallel()
	needKernel(t, "chroot")
	program := withCapabilities(t, unix.CAP_NET_ADMIN)
	s, root := newSite(t), newSite(t)
	for i, args := range [][]string{asRedirect, asTProxy, {"check"}, asOther, {cleanCommand}} {
		log, code := s.confined(asImage, append([]string{program}, args...)...)
		if code != 0 || i == 0 && !strings.Contains(log, "no variant of iptables is usable") {
			t.Fatalf("%s: exit code %d:\n%s", args, code, log)
		}
		if args[0] == applyCommand {
			args = in(native, args)
		}
		root.exits(0, args...)
		if want, got := root.state(), s.state(); want != got {
			t.Errorf("%s: as root:\n%s\nas the image:\n%s", args, want, got)
		}
	}
}

// TestCheckCountsTheRulesOfItsBackend: of a long list iptables has more rules, a tree of chains.
func TestCheckCountsTheRulesOfItsBackend(t *testing.T) {
	var list []string
	for i := range 2000 {
		list = append(list, fmt.Sprintf("10.%d.%d.0/28", i/250, i%250))
	}
	onBackends(t, func(t *testing.T, b backend) {
		s, args := newSite(t), flags("-b * -i "+strings.Join(list, ","))
		applied := regexp.MustCompile(`"family": "ipv4".*"rules": (\d+)`).FindStringSubmatch(s.exits(0, in(b, args)...))
		if applied == nil {
			t.Fatal("apply does not log the number of rules")
		}
		if answer := s.exits(0, checkOf(b, args)...); !strings.Contains(answer, ": "+applied[1]+" rules, in order\n") {
			t.Errorf("%s rules were applied; check says:\n%s", applied[1], answer)
		}
	})
}

// TestCheckComparesWithTheBackendOfItsFlags: apply with the same flags would move the rules.
// What is captured is told of the rules that are there.
func TestCheckComparesWithTheBackendOfItsFlags(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newSite(t, "NATIVE_NFTABLES=true")
		s.exits(0, append(in(b, asRedirect), fmt.Sprint("--native-nftables=", b == native))...)
		for _, other := range backends {
			want := 0
			if other != b {
				want = exitDrifted
			}
			s.exits(want, append(checkOf(other, asRedirect), fmt.Sprint("--native-nftables=", other == native))...)
		}
		if answer := s.exits(0, "check", "--require", "captured"); !strings.Contains(answer, "the live rules ("+b.String()+")") {
			t.Errorf("check does not tell of %s:\n%s", b, answer)
		}
	})
}

// TestFlushedRulesetIsDriftAndComesBack: nftables.service of Debian flushes the ruleset.
func TestFlushedRulesetIsDriftAndComesBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.exits(0, in(native, asTProxy)...)
	want := s.state()
	s.sh("nft flush ruleset")
	for _, b := range backends {
		if answer := s.exits(exitDrifted, checkOf(b, asTProxy)...); !strings.Contains(answer, "no mesh rules: nothing is installed") {
			t.Errorf("check of %s does not say that nothing is there:\n%s", b, answer)
		}
	}
	if answer := s.exits(0, "check"); !strings.Contains(answer, "nothing is captured") {
		t.Errorf("check does not say that nothing is captured:\n%s", answer)
	}
	s.exits(0, in(native, asTProxy)...)
	if got := s.state(); got != want {
		t.Errorf("before:\n%s\nafter:\n%s", want, got)
	}
}
