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
	"github.com/google/go-cmp/cmp/cmpopts"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// readOnly makes all file systems read-only and checks it.
const readOnly = `
findmnt -rno TARGET | grep -v -e '^/proc' -e '^/dev' | while read -r dir; do mount -o remount,bind,ro "$dir" || true; done
for dir in / /run /tmp /var/tmp; do
	if (: >"$dir/istio-init-written") 2>/dev/null; then rm "$dir/istio-init-written"; echo "$dir is writable"; exit 99; fi
done
`

// asNobody runs a program like a container that is not root and has few capabilities,
// such as "+net_admin".
const asNobody = readOnly + `
caps=-all$1
shift
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps="$caps" --ambient-caps="$caps" --bounding-set="$caps" "$@"
`

// asRoot runs a program with empty directories for temporary files, twice and with
// another mode, and prints the files that it has left. mount(8) writes /run/mount.
const asRoot = readOnly + `
program=$2
tmp=$(for dir in /tmp /var/tmp /dev/shm /run; do if [ -d "$dir" ]; then echo "$dir"; fi; done)
mount -t tmpfs tmpfs /run
mkdir /run/program
mount --bind "${program%/*}" /run/program
for dir in $tmp; do if [ "$dir" != /run ]; then mount -t tmpfs tmpfs "$dir"; fi; done
cd /tmp
run() { "/run/program/${program##*/}" "$@" >/dev/null 2>&1; }
run apply -u 1337 --ip-family dual -b 80 $1
run apply -u 1337 --ip-family dual -b 80 $1
run apply -u 1337 --ip-family dual -b 80 $1 -m TPROXY --redirect-dns --capture-all-dns
run clean
find $tmp -mindepth 1 \( -path /run/program -o -path /run/mount \) -prune -o -mindepth 1 -print
`

// confined runs a script with its own file systems.
func (s *site) confined(script string, args ...string) (output string, code int) {
	s.t.Helper()
	output, code = s.start("/usr/bin/unshare", append([]string{"--mount", "/bin/sh", "-ec", script, "sh"}, args...)...)
	if code == 99 {
		s.t.Fatal(output)
	}
	return output, code
}

// TestNonRootWithCapabilities runs on a read-only root file system, and compares with
// root.
func TestNonRootWithCapabilities(t *testing.T) {
	t.Parallel()
	needKernel(t)
	program := built
	for v, caps := range map[backend]string{xtables.NFT: ",+net_admin", xtables.Legacy: ",+net_admin,+net_raw", native: ",+net_admin"} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s, root := newSite(t), newSite(t)
			virgin := s.state()
			steps := []struct {
				args []string
				says string // twice, once for each family or variant
			}{
				{in(v, asRedirect), "info\trules applied\t"},
				{in(v, asRedirect), "info\trules in order, nothing written\t"},
				{in(v, asTProxy), "info\trules applied\t"},
				{in(v, asOther), "info\tstale policy routing removed\t"},
				{[]string{cleanCommand}, "info\trules removed\t"},
			}
			for _, step := range steps {
				log, code := s.confined(asNobody, append([]string{caps, program}, step.args...)...)
				if n := strings.Count(log, step.says); code != 0 || n != 2 {
					t.Fatalf("%s: exit code %d, says %d times %q:\n%s", step.args, code, n, step.says, log)
				}
				root.exits(0, step.args...)
				if diff := cmp.Diff(root.state(), s.state()); diff != "" {
					t.Errorf("%s (-as root +as nobody):\n%s", step.args, diff)
				}
			}
			if diff := cmp.Diff(virgin, s.state()); diff != "" {
				t.Errorf("after clean (-want +got):\n%s", diff)
			}
		})
	}
}

// TestNonRootLegacyApplyIsIdempotent: only root may list the tables of the legacy
// variant.
func TestNonRootLegacyApplyIsIdempotent(t *testing.T) {
	t.Parallel()
	needKernel(t)
	program, s := built, newSite(t)
	s.exits(0, in(xtables.Legacy, asRedirect)...)
	before := s.state()
	log, code := s.confined(asNobody, append([]string{",+net_admin,+net_raw", program}, asRedirect...)...)
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("exit code %d, changed (-before +after):\n%s\n%s", code, diff, log)
	}
}

func TestMissingCapabilityIsNamed(t *testing.T) {
	t.Parallel()
	needKernel(t)
	program := built
	tests := []struct {
		name, caps string
		args       []string
		want       string
	}{
		{"none", "", asRedirect, `error\t.*the capability NET_ADMIN`},
		{"none-clean", "", []string{cleanCommand}, `error\t.*the capability NET_ADMIN`},
		{"none-legacy", "", in(xtables.Legacy, asRedirect), `error\t.*the capability NET_(ADMIN|RAW)`},
		{"only-net-raw", ",+net_raw", asTProxy, `error\t.*the capability NET_ADMIN`},
		{"only-net-admin-legacy", ",+net_admin", in(xtables.Legacy, asRedirect), `error\t.*iptables-legacy needs the capability NET_RAW`},
		{"another-namespace", ",+net_admin", append(slices.Clone(asRedirect), "--network-namespace", "/proc/self/ns/net"), `error\t.*\(needs the capability SYS_ADMIN`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			before := s.state()
			log, code := s.confined(asNobody, append([]string{tt.caps, program}, tt.args...)...)
			if code != 1 || !regexp.MustCompile(tt.want).MatchString(log) || strings.Contains(log, "unable to initialize") {
				t.Errorf("exit code %d, want 1 and %s:\n%s", code, tt.want, log)
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("changed (-before +after):\n%s", diff)
			}
		})
	}
}

// TestNoFileIsLeft runs as root, which can write files. The lock of the legacy variant is
// the common one.
func TestNoFileIsLeft(t *testing.T) {
	t.Parallel()
	needKernel(t)
	program := built
	for v, want := range map[backend]string{xtables.NFT: "", xtables.Legacy: "/run/xtables.lock\n", native: ""} {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			left, code := s.confined(asRoot, strings.Join(in(v, nil), " "), program)
			if code != 0 || left != want {
				t.Errorf("exit code %d, left behind %q, want %q", code, left, want)
			}
		})
	}
}

// tellsAll is a wrapper that records the environment and the open files of its process.
const tellsAll = `find /proc/$$/fd -type l -printf '%f %l\n' >"$0.files"
tr '\0' '\n' </proc/$$/environ >"$0.env"
exec "$real" "$@"`

func TestChildProcessCapabilities(t *testing.T) {
	t.Parallel()
	// The common lock, which we hold, and one for the programs.
	ownLock := func(common string) []string { return []string{"4 " + common, "5 /memfd:xtables.lock (deleted)"} }
	base := []string{"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	const lock = "XTABLES_LOCKFILE=/proc/self/fd/5"
	tests := []struct {
		name      string
		variant   xtables.Variant
		env, args []string
		wantEnv   []string // besides base
		wantFiles []string // besides the namespace, which is one of the locks that we hold
	}{
		{"nft", xtables.NFT, nil, nil, nil, nil},
		{"legacy", xtables.Legacy, nil, nil, []string{lock}, ownLock("/run/xtables.lock")},
		{"nft-cni", xtables.NFT, nil, []string{"--cni-mode"}, nil, nil},
		{"legacy-cni", xtables.Legacy, nil, []string{"--cni-mode"}, []string{lock}, ownLock("/run/xtables.lock")},
		{"of-the-administrator", xtables.Legacy, []string{"XTABLES_LOCKFILE=/dev/null"}, []string{"--cni-mode"}, []string{lock}, ownLock("/dev/null")},
	}
	hostile := []string{
		"SECRET=1", "LC_ALL=de_DE.UTF-8", "LANG=tr_TR.UTF-8", "IFS=a", "HOSTALIASES=/dev/null", "RES_OPTIONS=ndots:9", "TMPDIR=/nowhere",
		"ISTIO_META_DNS_CAPTURE=true", "NETWORK_NAMESPACE=", "GODEBUG=netdns=cgo",
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, slices.Concat(hostile, tt.env)...)
			var tools []string
			for _, f := range inet.Families {
				restore := tool(tt.variant, f)
				tools = append(tools, restore, strings.Replace(restore, "restore", "save", 1))
			}
			for _, name := range tools {
				s.wrap(name, tellsAll)
			}
			s.start(filepath.Join(s.wrappers, tools[0]), "--version") // the files that we have ourselves
			given := s.said(tools[0] + ".files")
			s.exits(0, slices.Concat(in(tt.variant, asRedirect), tt.args)...)
			s.exits(0, slices.Concat(in(tt.variant, asTProxy), tt.args)...)
			for _, name := range tools {
				if diff := cmp.Diff(slices.Concat(base, tt.wantEnv), s.said(name+".env")); diff != "" {
					t.Errorf("environment of %s (-want +got):\n%s", name, diff)
				}
				files := slices.DeleteFunc(s.said(name+".files"), func(file string) bool {
					number, link, _ := strings.Cut(file, " ")
					return strings.HasPrefix(link, s.wrappers) || // the script itself
						slices.ContainsFunc(given, func(g string) bool { return strings.HasPrefix(g, number+" ") })
				})
				for i, file := range files {
					files[i] = regexp.MustCompile(`net:\[\d+\]$`).ReplaceAllString(file, "net")
				}
				if diff := cmp.Diff(slices.Concat([]string{"3 net"}, tt.wantFiles), files, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("open files of %s (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// said returns the lines that a wrapper recorded, sorted.
func (s *site) said(file string) []string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.wrappers, file))
	if err != nil {
		s.t.Fatal(fmt.Errorf("the program was not started: %w", err))
	}
	return slices.Sorted(slices.Values(strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })))
}
