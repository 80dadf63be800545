package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// cniProgram returns the path of the CNI plugin, which is built once for the tests that run it,
// unless TEST_CNI_PROGRAM names one.
func cniProgram(t testing.TB) string {
	t.Helper()
	path, err := builtCNI()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var builtCNI = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TEST_CNI_PROGRAM"); path != "" {
		return path, nil
	}
	path := filepath.Join(programs, "istio-cni")
	return path, build(path, top+"cmd/istio-cni")
})

// annotationsKey is the capability by which annotations reach a plugin.
const annotationsKey = "io.kubernetes.cri.pod-annotations"

// The verbs of the CNI specification.
const (
	cniAdd   = "ADD"
	cniDel   = "DEL"
	cniCheck = "CHECK"
)

type object = map[string]any

// waits are the annotations of a pod that waits for a CNI plugin, with others. Key and value
// alternate.
func waits(more ...string) map[string]string {
	all := map[string]string{
		"sidecar.istio.io/status":           `{"initContainers":["istio-validation"],"containers":["istio-proxy"],"volumes":null,"revision":"default"}`,
		"sidecar.istio.io/interceptionMode": "REDIRECT",
	}
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// cniEntry returns the network configuration of a pod with annotations, with more keys.
func cniEntry(annotations map[string]string, more object) string {
	entry := object{
		"cniVersion": "1.0.0", "name": "istio-cni", "type": "istio-cni", "exclude_namespaces": []string{"kube-system"},
		"runtimeConfig": object{annotationsKey: annotations},
	}
	maps.Copy(entry, more)
	text, err := json.Marshal(entry)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// A cniCall is a call of the plugin by a container runtime.
type cniCall struct {
	command, netns, entry string
	namespace             string // of the pod; "": demo
	env                   []string
}

// cmd returns the process, with its configuration in a file as its input.
func (c cniCall) cmd(t testing.TB) *exec.Cmd {
	t.Helper()
	input := filepath.Join(t.TempDir(), "entry.json")
	if err := os.WriteFile(input, []byte(c.entry), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(input)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if c.namespace == "" {
		c.namespace = "demo"
	}
	cmd := exec.Command(cniProgram(t))
	cmd.Stdin = file
	cmd.Env = append([]string{
		"CNI_COMMAND=" + c.command, "CNI_CONTAINERID=sandbox1", "CNI_NETNS=" + c.netns, "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin",
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=" + c.namespace + ";K8S_POD_NAME=web-1;K8S_POD_INFRA_CONTAINER_ID=sandbox1",
	}, c.env...)
	return cmd
}

// inMountNS returns a command that runs a script and then another command as its "$@", in a mount
// namespace of its own.
func inMountNS(cmd *exec.Cmd, script string) *exec.Cmd {
	in := exec.Command("/bin/sh", append([]string{"-ec", script + ` && exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)...)
	in.Stdin, in.Env = cmd.Stdin, append(cmd.Env, "PATH="+os.Getenv("PATH"))
	in.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	return in
}

// A cniAnswer is the answer of the plugin.
type cniAnswer struct {
	exit        int
	out, log    string
	result      object // of an ADD that succeeds
	code        int    // of an error
	msg, detail string
}

// String returns the answer for messages of tests.
func (a cniAnswer) String() string { return fmt.Sprintf("exit code %d, %s\n%s", a.exit, a.out, a.log) }

// answer calls the plugin. Its answer has to be one document of JSON, or nothing.
func (c cniCall) answer(t testing.TB) cniAnswer {
	t.Helper()
	return readAnswer(t, c.cmd(t))
}

func readAnswer(t testing.TB, cmd *exec.Cmd) (a cniAnswer) {
	t.Helper()
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	a.exit, a.out, a.log = cmd.ProcessState.ExitCode(), out.String(), log.String()
	if strings.TrimSpace(a.out) == "" {
		return a
	}
	document := json.RawMessage(a.out) // one alone: else it does not unmarshal
	if a.exit == 0 {
		err = json.Unmarshal(document, &a.result)
	} else {
		var failure struct {
			Code         int
			Msg, Details string
		}
		err = json.Unmarshal(document, &failure)
		a.code, a.msg, a.detail = failure.Code, failure.Msg, failure.Details
	}
	if err != nil {
		t.Fatalf("not one document: %v\n%s", err, a)
	}
	return a
}

// succeeds calls the plugin, which has to succeed.
func (c cniCall) succeeds(t testing.TB) cniAnswer {
	t.Helper()
	a := c.answer(t)
	if a.exit != 0 {
		t.Fatalf("%s: %s", c.command, a)
	}
	return a
}

// fails calls the plugin, which has to fail with a code, and with a text in its message.
func (c cniCall) fails(t testing.TB, code int, text string) cniAnswer {
	t.Helper()
	a := c.answer(t)
	if a.exit != 1 || a.code != code || !strings.Contains(a.msg, text) || strings.Contains(a.msg, "\n") {
		t.Fatalf("%s: want code %d and %q on one line: %s", c.command, code, text, a)
	}
	return a
}
