package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/flow"
	"istio-init/test/kernel"
	"istio-init/test/pod"
	"istio-init/test/scenario"
)

const (
	examples = top + "examples/"
	vmUnit   = examples + "vm/istio-init.service"
)

// A unit is a systemd unit: the values of each key, by section, in order.
type unit map[string]map[string][]string

func readUnit(t *testing.T) unit {
	t.Helper()
	text, err := os.ReadFile(vmUnit)
	if err != nil {
		t.Fatal(err)
	}
	u, section := unit{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		key, value, pair := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			u[section] = map[string][]string{}
		case !pair || section == "":
			t.Fatalf("%s: a line that is none of a unit: %s", vmUnit, line)
		default:
			u[section][key] = append(u[section][key], value)
		}
	}
	return u
}

// one returns the value of a key that occurs once.
func (u unit) one(t *testing.T, section, key string) string {
	t.Helper()
	values := u[section][key]
	if len(values) != 1 {
		t.Fatalf("%s: [%s] has %d lines of %s", vmUnit, section, len(values), key)
	}
	return values[0]
}

// command returns the words of a command of the unit, without the path of the program.
func (u unit) command(t *testing.T, key string) []string {
	t.Helper()
	words := strings.Fields(u.one(t, "Service", key))
	if words[0] != "/usr/local/bin/"+programName {
		t.Fatalf("%s runs %s", key, words[0])
	}
	return words[1:]
}

// TestSystemdUnitAppliesAndCleans checks the commands and the ordering of the unit.
func TestSystemdUnitAppliesAndCleans(t *testing.T) {
	u := readUnit(t)
	for key, want := range map[string]string{
		"Type": "oneshot", "RemainAfterExit": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict",
		"CapabilityBoundingSet": "CAP_NET_ADMIN CAP_NET_RAW",
	} {
		if got := u.one(t, "Service", key); got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	if got := u.one(t, "Unit", "Before"); got != "istio.service" {
		t.Errorf("it is started before %s", got)
	}
	start := u.command(t, "ExecStart")
	if diff := cmp.Diff(start, u.command(t, "ExecReload")); diff != "" {
		t.Errorf("start and reload differ (-start +reload):\n%s", diff)
	}
	if diff := cmp.Diff([]string{cleanCommand}, u.command(t, "ExecStop")); diff != "" {
		t.Errorf("the stop (-want +got):\n%s", diff)
	}
	var files []string
	for _, path := range u["Service"]["EnvironmentFile"] {
		if !strings.HasPrefix(path, "-/var/lib/istio/envoy/") {
			t.Errorf("EnvironmentFile=%s: it is needed, or elsewhere", path)
		}
		files = append(files, filepath.Base(path))
	}
	if !slices.Contains(start, "--allow-host-network") {
		t.Errorf("it would refuse to work on a machine: %q", start)
	}
	needKernel(t)
	want := scenario.Load(t, testdata, "virtual-machine")
	env := strings.Split(strings.TrimSpace(variablesOf(t, files)), "\n")
	pod := pod.New(t, flow.Config{})
	got, log, err := pod.RunWith(t, env, want.Section("resolv.conf"), built, slices.Concat(start, []string{"-u", "1337", "--dry-run"})...)
	if err != nil || strings.Contains(log, "warn\t") && !strings.Contains(log, "IPv6 is NOT captured") {
		t.Errorf("%v\n%s", err, log)
	}
	if diff := cmp.Diff("# iptables-save\n"+want.Section("ipv4"), got); diff != "" {
		t.Errorf("the rules are not those of %s (-want +got):\n%s", want.Path, diff)
	}
}

// aVariable is a line of an environment file, as our examples write it.
var aVariable = regexp.MustCompile(`(?m)^([A-Z_]+)=('?)([^'"\s]*)('?)$`)

// variablesOf reads environment files; the last file wins.
func variablesOf(t *testing.T, files []string) (env string) {
	t.Helper()
	slices.Reverse(files) // a scenario takes the first one
	for _, name := range files {
		text, err := os.ReadFile(examples + "vm/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			m := aVariable.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
			switch {
			case m != nil && m[2] == m[4]:
				env += m[1] + "=" + m[3] + "\n"
			case line[0] != '#':
				t.Errorf("%s: not a variable: %s", name, line)
			}
		}
	}
	return env
}

// TestSystemdAcceptsTheUnit runs systemd-analyze verify, if it is installed.
func TestSystemdAcceptsTheUnit(t *testing.T) {
	t.Parallel()
	kernel.NeedPrograms(t, "systemd-analyze")
	text, err := os.ReadFile(vmUnit)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(vmUnit))
	text = bytes.ReplaceAll(text, []byte("/usr/local/bin/"+programName), []byte(built))
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// inSandbox runs a command like the unit: with the capabilities of its bounding set and
// no_new_privs, with write access only to /run, and with read-only kernel settings.
const inSandbox = `
mount --make-rprivate /
mount --bind / /
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /run
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
caps=$1
shift
exec setpriv --no-new-privs --bounding-set "-all,$caps" --inh-caps=-all "$@"
`

func TestSystemdUnitWorksInItsSandbox(t *testing.T) {
	t.Parallel()
	needKernel(t)
	u := readUnit(t)
	caps := strings.NewReplacer("cap_", "+", " ", ",").Replace(strings.ToLower(u.one(t, "Service", "CapabilityBoundingSet")))
	if got := u.one(t, "Service", "ReadWritePaths"); got != "/run" {
		t.Fatalf("it may write to %s, and the sandbox here lets it write to /run", got)
	}
	for _, variant := range []string{"nft", "legacy"} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "FORCE_IPTABLES_BINARY="+variant, "ISTIO_INIT_IP_FAMILY=dual", "PROXY_UID=1337",
				"ISTIO_INBOUND_PORTS=*", "ISTIO_SERVICE_CIDR=*", "ISTIO_INBOUND_INTERCEPTION_MODE=TPROXY")
			before := s.state()
			run := func(key string) string {
				t.Helper()
				args := append([]string{"--mount", "sh", "-ec", inSandbox, "sh", caps, built}, u.command(t, key)...)
				log, code := s.start("unshare", args...)
				if code != 0 {
					t.Fatalf("%s: exit code %d\n%s", key, code, log)
				}
				return log
			}
			if log := run("ExecStart"); !strings.Contains(log, "rules applied") {
				t.Errorf("ExecStart applied nothing:\n%s", log)
			}
			applied := s.state()
			if log := run("ExecReload"); !strings.Contains(log, "nothing written") {
				t.Errorf("ExecReload with the same variables wrote:\n%s", log)
			}
			if diff := cmp.Diff(applied, s.state()); diff != "" {
				t.Errorf("ExecReload changed (-before +after):\n%s", diff)
			}
			run("ExecStop")
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("ExecStop left (-before +after):\n%s", diff)
			}
		})
	}
}
