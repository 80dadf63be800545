package test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"istio-init/test/golden"
	"istio-init/test/kernel"
	"istio-init/test/schemas"
)

// TestScripts runs testdata/script: the program as its user sees it. Besides the
// commands of testscript there are
//
//	exits CODE PROGRAM ARGS...   run it, it has to exit with this code
//	messages FILE                write the last standard error without times
//	netns NAME                   make a network namespace; $NAME is its name for ip-netns(8)
//	innetns NAME PROGRAM ARGS... run it inside
//	state NAME FILE              write the rules of the namespace
//
// and the condition [root]: the machine can run the kernel tests.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 testdata + "/script",
		UpdateScripts:       golden.Update(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("condition %q is not known", cond)
			}
			lack := kernel.Lack(needed...)
			if lack != "" && kernel.Required() {
				return false, errors.New("KERNEL_TESTS=require: " + lack)
			}
			return lack == "", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"messages": messages,
			"netns":    makeNetNS,
			"innetns":  inNetNS,
			"state":    state,
		},
	})
}

var netnsCount atomic.Int32

// newNetNS makes a network namespace, with lo up as in a pod, and returns its name.
func newNetNS() (string, error) {
	name := fmt.Sprintf("istio-init-%d-%d", os.Getpid(), netnsCount.Add(1))
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		return "", fmt.Errorf("ip netns add: %w: %s", err, out)
	}
	// Sysctls are inherited from the machine.
	const begin = "ip link set lo up && echo 0 >/proc/sys/net/ipv4/conf/all/src_valid_mark"
	if out, err := exec.Command("ip", "netns", "exec", name, "sh", "-c", begin).CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("ip link set lo up: %w: %s", err, out), deleteNetNS(name))
	}
	return name, nil
}

func deleteNetNS(name string) error {
	if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
		return fmt.Errorf("ip netns delete %s: %w: %s", name, err, out)
	}
	return nil
}

func makeNetNS(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: netns NAME")
	}
	name, err := newNetNS()
	ts.Check(err)
	ts.Defer(func() {
		if err := deleteNetNS(name); err != nil {
			ts.Logf("%v", err)
		}
	})
	ts.Setenv(args[0], name)
}

func inNetNS(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: innetns NAME PROGRAM ARGS...; for one that fails: exits CODE ip netns exec $NAME PROGRAM ARGS...")
	}
	ts.Check(ts.Exec("ip", append([]string{"netns", "exec", ts.Getenv(args[0])}, args[1:]...)...))
	checkDocument(ts, args)
}

// checkDocument validates the answer of a command with --output json by the schemas.
func checkDocument(ts *testscript.TestScript, args []string) {
	if i := slices.Index(args, "--output"); i < 0 || i+1 == len(args) || args[i+1] != "json" {
		return
	}
	if _, err := schemas.Validate(top, []byte(ts.ReadFile("stdout"))); err != nil {
		ts.Fatalf("%q: %v", args, err)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	default:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	checkDocument(ts, args)
}

// logTime is the time of a log line, in both forms of the log.
var logTime = regexp.MustCompile(`(?m)(^|"ts":")\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4})(\t|")`)

func messages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: messages FILE")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(withoutTimes(ts.ReadFile("stderr"))), 0o666))
}

// withoutTimes replaces the times in a log.
func withoutTimes(log string) string {
	return logTime.ReplaceAllStringFunc(log, func(s string) string {
		if strings.HasPrefix(s, `"ts"`) {
			return `"ts":"TIME"`
		}
		return ""
	})
}

// saveTools print all rules of a namespace.
var saveTools = []string{"iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"}

// state writes the rules without comments, counters and empty tables, which the legacy
// variant keeps.
func state(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: state NAME FILE")
	}
	var text strings.Builder
	for _, tool := range saveTools {
		out, err := exec.Command("ip", "netns", "exec", ts.Getenv(args[0]), tool).Output()
		if err != nil {
			ts.Fatalf("%s: %v", tool, err)
		}
		if held := heldText(string(out)); held != "" {
			fmt.Fprintf(&text, "== %s\n%s", tool, held)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text.String()), 0o666))
}

var (
	saveComment = regexp.MustCompile(`(?m)^#.*\n`)
	saveCounter = regexp.MustCompile(`(?m) \[\d+:\d+\]$`)
	emptyTable  = regexp.MustCompile(`(?m)^\*\w+\n(:\w+ ACCEPT\n)*COMMIT\n`)
)

// heldText returns an output of iptables-save without comments, counters and empty tables.
func heldText(save string) string {
	save = saveComment.ReplaceAllString(save, "")
	save = saveCounter.ReplaceAllString(save, "")
	return emptyTable.ReplaceAllString(save, "")
}
