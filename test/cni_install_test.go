package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"istio-init/test/kernel"
	"istio-init/test/size"
)

const mainPlugin = `{
  "name": "k8s-pod-network",
  "cniVersion": "0.3.1",
  "plugins": [
    {
      "type": "calico",
      "mtu": 0
    }
  ]
}
`

// A cniNode has the directories of a node.
type cniNode struct{ bin, conf string }

func newCNINode(t testing.TB, name, text string) cniNode {
	t.Helper()
	root := t.TempDir()
	n := cniNode{filepath.Join(root, "bin"), filepath.Join(root, "net.d")}
	for _, d := range []string{n.bin, n.conf} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(n.conf, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

// args returns a command line of istio-cni.
func (n cniNode) args(t testing.TB, args ...string) []string {
	t.Helper()
	return slices.Concat([]string{cniProgram(t)}, args, []string{"--cni-bin-dir", n.bin, "--cni-conf-dir", n.conf})
}

// run runs a command of istio-cni, which has to succeed.
func (n cniNode) run(t testing.TB, args ...string) string {
	t.Helper()
	line := n.args(t, args...)
	said, err := exec.Command(line[0], line[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said)
	}
	return string(said)
}

type cniStatus struct {
	Installed bool
	Binary    struct{ State string }
	Entries   []struct{ File, Method string }
	Runtimes  []struct{ Name, LibCNI string }
	Problems  []struct{ Code string }
}

// status returns the status, and its exit code.
func (n cniNode) status(t testing.TB, args ...string) (s cniStatus, exit int) {
	t.Helper()
	line := n.args(t, append([]string{"status", "--output", "json"}, args...)...)
	cmd := exec.Command(line[0], line[1:]...)
	said, _ := cmd.Output() // the exit code tells
	if err := json.Unmarshal(said, &s); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return s, cmd.ProcessState.ExitCode()
}

// files returns the names and contents of all files.
func (n cniNode) files(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range []string{n.bin, n.conf} {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(d, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(d)+"/"+e.Name()] = string(text)
		}
	}
	return all
}

func TestAnInstallationBringsAFileToTheDiskBeforeItsNameAndTheDirectoryAfterIt(t *testing.T) {
	kernel.NeedPrograms(t, "strace")
	n := newCNINode(t, "10-calico.conflist", mainPlugin)
	trace := filepath.Join(t.TempDir(), "trace")
	line := append([]string{"-f", "-y", "-qq", "-o", trace, "-e", "signal=none", "-e", "trace=renameat,fsync"}, n.args(t, "install")...)
	if said, err := exec.Command("strace", line...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls := regexp.MustCompile(`(?:fsync\(\d+<|renameat\(.*, ")([^">]+)`).FindAllStringSubmatch(string(text), -1)
	var got []string
	for _, c := range calls {
		verb, _, _ := strings.Cut(c[0], "(")
		got = append(got, verb+" "+regexp.MustCompile(`\.istio-cni-\d+`).ReplaceAllString(c[1], "TEMP"))
	}
	var want []string
	for _, path := range []string{filepath.Join(n.bin, "istio-cni"), filepath.Join(n.conf, "10-calico.conflist")} {
		dir := filepath.Dir(path)
		want = append(want, "fsync "+filepath.Join(dir, "TEMP.tmp"), "renameat "+path, "fsync "+dir)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s\n%s", d, text)
	}
}

// TestAnInstallerThatIsKilledInASystemCallLeavesANodeThatWorks kills the program before each of
// its calls that change the node.
func TestAnInstallerThatIsKilledInASystemCallLeavesANodeThatWorks(t *testing.T) {
	kernel.NeedPrograms(t, "strace")
	const single = `{"name":"net","cniVersion":"0.4.0","type":"ptp"}`
	whole := newCNINode(t, "10-net.conf", single)
	whole.run(t, "install")
	calls := []string{"renameat", "unlinkat", "fsync", "fchmod"}[:size.Of(1, 2, 4)]
	for _, command := range []string{"install", "uninstall"} {
		for _, call := range calls {
			killed := 0
			for more := true; more; killed++ {
				n := newCNINode(t, "10-net.conf", single)
				if command == "uninstall" {
					n.run(t, "install")
				}
				inject := fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, killed+1)
				line := append([]string{"-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=" + call, "-e", inject}, n.args(t, command)...)
				more = exec.Command("strace", line...).Run() != nil && killed < 50
				s, exit := n.status(t)
				if s.Installed != (n.captures(t) && s.Binary.State == "current") || exit == 0 != (len(s.Problems) == 0) {
					t.Errorf("%s, killed at %s %d: %+v, exit code %d, files %v", command, call, killed+1, s, exit, n.names(t))
				}
				n.run(t, "install")
				if d := cmp.Diff(whole.files(t), n.files(t)); d != "" {
					t.Fatalf("%s, killed at %s %d, and installed: (-want +got)\n%.2000s", command, call, killed+1, d)
				}
				n.run(t, "uninstall", "--remove-binary")
				if d := cmp.Diff(map[string]string{"net.d/10-net.conf": single}, n.files(t)); d != "" {
					t.Fatalf("%s, killed at %s %d, installed and uninstalled: (-want +got)\n%.2000s", command, call, killed+1, d)
				}
			}
			if killed < 2 && call != "unlinkat" {
				t.Errorf("%s makes %d calls of %s", command, killed, call)
			}
		}
	}
}

func (n cniNode) names(t testing.TB) []string {
	t.Helper()
	var names []string
	for name := range n.files(t) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// captures reports whether the first configuration calls the plugin.
func (n cniNode) captures(t testing.TB) bool {
	t.Helper()
	for _, name := range n.names(t) {
		if strings.HasSuffix(name, ".conf") || strings.HasSuffix(name, ".conflist") {
			text := n.files(t)[name]
			if !json.Valid([]byte(text)) {
				t.Errorf("%s is invalid:\n%s", name, text)
			}
			return strings.Contains(text, `"istio-cni"`)
		}
	}
	t.Error("no pod can start: there is no configuration")
	return false
}

// TestTheProgramOfARuntimeDecidesTheMethod: the plugin itself has libcni of 1.3 among its
// modules, as a runtime has that loads drop-in files.
func TestTheProgramOfARuntimeDecidesTheMethod(t *testing.T) {
	n := newCNINode(t, "10-calico.conflist", mainPlugin)
	runtime := []string{"--runtime-binary", cniProgram(t)}
	said := n.run(t, append([]string{"install"}, runtime...)...)
	s, exit := n.status(t, runtime...)
	if exit != 0 || len(s.Entries) != 1 || s.Entries[0].Method != "drop-in" || !strings.Contains(said, "method drop-in: ") {
		t.Errorf("%+v, exit code %d\n%s", s, exit, said)
	}
	said = n.run(t, "install", "--runtime-binary", "/no-runtime")
	if s, exit = n.status(t); exit != 0 || len(s.Entries) != 1 || s.Entries[0].Method != "insert" || !strings.Contains(said, "method insert: ") {
		t.Errorf("%+v, exit code %d\n%s", s, exit, said)
	}
}

func TestAnInstalledPluginAnswersAndAnUninstalledOnePassesResultsThrough(t *testing.T) {
	n := newCNINode(t, "10-calico.conflist", mainPlugin)
	n.run(t, "install")
	const entry = `{"cniVersion":"1.0.0","name":"k8s-pod-network","type":"istio-cni","prevResult":{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}}`
	call := func(command string) (string, error) {
		cmd := exec.Command(filepath.Join(n.bin, "istio-cni"))
		cmd.Stdin = strings.NewReader(entry)
		cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=x", "CNI_NETNS=/run/netns/none", "CNI_IFNAME=eth0", "CNI_PATH=" + n.bin}
		said, err := cmd.Output()
		return string(said), err
	}
	if said, err := call("ADD"); err == nil {
		t.Errorf("a pod whose annotations do not arrive starts: %s", said)
	}
	n.run(t, "uninstall")
	if s, exit := n.status(t); s.Binary.State != "passes-through" || exit != 1 {
		t.Errorf("%+v, exit code %d", s, exit)
	}
	for _, command := range []string{"ADD", "DEL"} {
		said, err := call(command)
		if err != nil || command == "ADD" && !strings.Contains(said, "10.1.2.3/24") {
			t.Errorf("%s: %v, %s", command, err, said)
		}
	}
}

// TestAnInstallerNeedsNoCapabilityButThatForDirectoriesOfOthers: as in the container of
// examples/cni, whose user is root.
func TestAnInstallerNeedsNoCapabilityButThatForDirectoriesOfOthers(t *testing.T) {
	kernel.Need(t, "setpriv")
	n := newCNINode(t, "10-calico.conflist", mainPlugin)
	for _, d := range []string{n.bin, n.conf} {
		if err := errors.Join(os.Chown(d, 1000, 1000), os.Chmod(d, 0o555)); err != nil {
			t.Fatal(err)
		}
	}
	with := func(caps string, args ...string) (string, error) {
		line := append([]string{"--inh-caps=-all", "--bounding-set=-all" + caps}, n.args(t, args...)...)
		said, err := exec.Command("setpriv", line...).CombinedOutput()
		return string(said), err
	}
	if said, err := with("", "install"); err == nil || !strings.Contains(said, "directory "+n.bin+" cannot be written") {
		t.Errorf("without a capability: %v\n%s", err, said)
	}
	const need = ",+dac_override"
	for _, command := range []string{"install", "status", "uninstall"} {
		if said, err := with(need, command); err != nil {
			t.Errorf("%s: %v\n%s", command, err, said)
		}
	}
	if err := os.Chown(filepath.Join(n.conf, "10-calico.conflist"), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	if said, err := with(need, "install"); err == nil || !strings.Contains(said, "keep its owner 1000:1000, with the capability CHOWN") {
		t.Errorf("a file of another owner: %v\n%s", err, said)
	}
	if said, err := with(need+",+chown", "install"); err != nil {
		t.Errorf("a file of another owner, with CHOWN: %v\n%s", err, said)
	}
}
