package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lastMessageCases are command lines in a container, by a shell that is its process 1. With
// exec the program takes the place of the shell, as in an init container.
var lastMessageCases = []struct {
	name, script, want string // want: what the termination log begins with
}{
	{"apply", "exec setpriv --bounding-set=-net_admin istio-init apply -b 80", "look at the packet filter (needs "},
	{"input", "exec istio-init apply -b 80a,443 -m BOTH", "--istio-inbound-interception-mode"},
	{"flag", "exec istio-init --no-such-flag", "unknown flag --no-such-flag: see --help\n"},
	{"validation", "exec istio-init apply --skip-rule-apply --run-validation --ip-family ipv4 -u 1337 -i '*' -b '*'", "valid"},
	{"clean", "exec istio-init clean --network-namespace /run/none", "--network-namespace: open network namespace /run/none: "},
	{"other-command", "exec istio-init check --network-namespace /run/none", "before"},
	{"success", "exec istio-init apply --dry-run -b 80", "before"},
	{"not-process-1", "istio-init apply -b 80a; true", "before"},
	{"no-file", "rm /dev/termination-log; exec istio-init apply -b 80a", ""},
	{"directory", "rm /dev/termination-log; mkdir /dev/termination-log; exec istio-init apply -b 80a", ""},
	{"link", "mv /dev/termination-log /dev/other; ln -s other /dev/termination-log; exec istio-init apply -b 80a", "before"},
	{"fifo", "rm /dev/termination-log; mkfifo /dev/termination-log; exec istio-init apply -b 80a", ""},
}

// TestTheLastMessageOfAPodIsTheError runs the program in PID, mount and network namespaces of
// its own.
func TestTheLastMessageOfAPodIsTheError(t *testing.T) {
	needKernel(t)
	t.Parallel()
	for _, tt := range lastMessageCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dev := t.TempDir()
			log := filepath.Join(dev, "termination-log")
			if err := os.WriteFile(log, []byte("before"), 0o666); err != nil {
				t.Fatal(err)
			}
			const begin = `touch "$0"/null && mount --bind /dev/null "$0"/null && mount --bind "$0" /dev && mount -t proc proc /proc && `
			cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "sh", "-c", begin+tt.script, dev)
			cmd.Env = append(os.Environ(), "ISTIO_INIT_TIMEOUT=10s")
			out, err := cmd.CombinedOutput()
			_ = os.Remove(filepath.Join(dev, "null"))
			var text []byte
			if file, err := os.Stat(log); err == nil && file.Mode().IsRegular() {
				text, _ = os.ReadFile(log)
			}
			if !strings.HasPrefix(string(text), tt.want) || tt.want == "" && len(text) > 0 {
				t.Errorf("the termination log has %q, want %q (%v):\n%s", text, tt.want, err, out)
			}
			if last := strings.TrimSpace(string(text)); last != "before" && !strings.Contains(string(out), last[strings.LastIndexByte(last, '\n')+1:]) {
				t.Errorf("%q is not on standard error:\n%s", last, out)
			}
		})
	}
}
