package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
)

// A countedSite is a site that records the names of all started programs of the packet
// filter.
type countedSite struct {
	*site
	started string // file: a line for each process
}

func newCountedSite(t *testing.T) *countedSite {
	t.Helper()
	return &countedSite{newSite(t), filepath.Join(t.TempDir(), "started")}
}

// count wraps all programs that could be started.
func (w *countedSite) count() {
	w.t.Helper()
	programs := []string{"nft", "ip", "sh", "modprobe", "conntrack", "nsenter", "sysctl"}
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, variant := range []string{"", "-nft", "-legacy"} {
			for _, what := range []string{"", "-save", "-restore", "-apply"} {
				programs = append(programs, family+variant+what)
			}
		}
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil { // not installed
			w.wrap(program, fmt.Sprintf("echo %s >>%s\nexec $real \"$@\"", program, w.started))
		}
	}
}

// run runs the program, which has to succeed, and returns its log, and the names of
// the processes that it started, sorted.
func (w *countedSite) run(args ...string) (log string, started []string) {
	w.t.Helper()
	if err := os.WriteFile(w.started, nil, 0o666); err != nil {
		w.t.Fatal(err)
	}
	log = w.exits(0, args...)
	names, err := os.ReadFile(w.started)
	if err != nil {
		w.t.Fatal(err)
	}
	started = strings.Fields(string(names))
	slices.Sort(started)
	return log, started
}

// sidecar are the flags of the published command, and other of another one.
var (
	sidecar = []string{
		"istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT",
		"-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020",
	}
	other = []string{"istio-iptables", "-u", "1337", "-i", "10.0.0.0/8,fd00::/8", "-b", "80", "--drop-invalid"}
)

func TestProcessesPerRun(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		for _, family := range []string{"ipv4", "dual"} {
			t.Run(variant+"-"+family, func(t *testing.T) {
				t.Parallel()
				pod := newCountedSite(t)
				pod.count()
				with := func(flags []string) []string {
					return append(slices.Clone(flags), "--ip-family", family, "--force-iptables-binary", variant)
				}
				// programs returns one of each kind for each family, sorted.
				programs := func(kinds ...string) []string {
					var names []string
					for _, tool := range []string{"ip6tables", "iptables"} {
						for _, kind := range kinds {
							if tool == "iptables" || family == "dual" {
								names = append(names, tool+"-"+variant+"-"+kind)
							}
						}
					}
					slices.Sort(names)
					return names
				}
				// nf_tables tables without foreign rules are deleted without a process.
				clean := programs("save", "restore")
				if variant == "nft" {
					clean = programs("save")
				}
				steps := []struct {
					name string
					args []string
					want []string
				}{
					{"clean-of-nothing", []string{"clean"}, nil},
					{"check-of-nothing", []string{"check"}, nil},
					{"trace-of-nothing", []string{"trace", "--to", "127.0.0.1:80"}, nil},
					{"fresh-apply", with(sidecar), programs("restore")},
					{"nothing-to-do", with(sidecar), programs("save")},
					{"check", append([]string{"check"}, with(sidecar)[1:]...), programs("save")},
					{"check-what-stands", []string{"check"}, programs("save")},
					{"trace", []string{"trace", "--to", "127.0.0.1:80"}, programs("save")},
					// It compares the flags with the live rules, and warns where they differ.
					{"trace-planned", append([]string{"trace", "--to", "127.0.0.1:80"}, with(sidecar)[1:]...), programs("save")},
					{"asked-to-force", with(append(sidecar, "--force-apply", "--reconcile")), programs("save")},
					{"changed", with(other), programs("save", "restore")},
					{"preview", append(with(sidecar), "--dry-run"), nil},
					{"skip", append(with(sidecar), "--skip-rule-apply"), nil},
					{"clean", []string{"clean"}, clean},
				}
				for _, step := range steps {
					log, started := pod.run(step.args...)
					if diff := cmp.Diff(step.want, started, cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("%s: processes (-want +got):\n%s%s", step.name, diff, log)
					}
				}
			})
		}
	}
}

// A namespace can have rules in both variants: another program can change the variant
// between two runs.
func TestCleanReadsEachFamilyOfEachVariantOnce(t *testing.T) {
	t.Parallel()
	pod := newCountedSite(t)
	pod.run(append(slices.Clone(sidecar), "--ip-family", "dual", "--force-iptables-binary", "nft")...)
	script := "*nat\n:ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n"
	for _, f := range inet.Families {
		pod.restore(xtables.Legacy, f, script)
	}
	pod.count()
	log, started := pod.run("clean")
	want := []string{
		"ip6tables-legacy-restore", "ip6tables-legacy-save", "ip6tables-nft-save",
		"iptables-legacy-restore", "iptables-legacy-save", "iptables-nft-save",
	}
	if diff := cmp.Diff(want, started); diff != "" {
		t.Errorf("processes (-want +got):\n%s%s", diff, log)
	}
}

// Another iptables release may print a rule in another way than ours. That is no drift:
// the rule must not be rewritten by every run.
func TestRewordedRulesAreNotRewritten(t *testing.T) {
	for _, tool := range []string{"iptables-nft-save", "iptables-legacy-save"} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			variant := strings.Split(tool, "-")[1]
			pod := newCountedSite(t)
			flags := append(slices.Clone(sidecar), "--ip-family", "ipv4", "--force-iptables-binary", variant)
			pod.run(flags...)
			pod.wrap(tool, `$real "$@" | sed -e '/^# Generated/s/ v[0-9.]*/ v1.99.0/' -e 's/-p tcp -m tcp --dport/-p 6 -m tcp --dport/'`)

			log, _ := pod.run(flags...)
			if !strings.Contains(log, "nothing written") || strings.Contains(log, "applied") {
				t.Errorf("a second run wrote:\n%s", log)
			}
			// A real difference is still detected.
			log, _ = pod.run(append(flags, "-d", "15090,15021")...)
			if !strings.Contains(log, "rules applied") {
				t.Errorf("a run with another configuration wrote nothing:\n%s", log)
			}
			log, _ = pod.run("clean")
			if !strings.Contains(log, "rules removed") {
				t.Errorf("clean removed nothing:\n%s", log)
			}
		})
	}
}
