package test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"istio-init/test/kernel"
)

const (
	top      = "../" // of the repository
	testdata = top + "testdata"
	source   = top + "cmd/istio-init" // of the program
)

// The name of the program, and its commands.
const (
	programName  = "istio-init"
	applyCommand = "apply"
	cleanCommand = "clean"
)

// istiosNames are the names of Istio's programs, under which it can be called.
var istiosNames = []string{"istio-iptables", "istio-iptables-go", "istio-iptables.sh", "istio-clean-iptables", "pilot-agent"}

// Its exit codes.
const (
	exitDone       = 0
	exitDrifted    = 1
	exitUnknown    = 2
	exitValidation = 126
)

var (
	built    string // the path of the program
	programs string // the directory of all built programs
)

// TestMain builds the program once, as "make build" does, unless TEST_PROGRAM names one.
// It is first in PATH, under all its names. Other users can read its directory.
func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := install()
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code) //nolint:forbidigo // as testing does
}

func install() (dir string, err error) {
	if dir, err = os.MkdirTemp("", programName); err != nil {
		return "", err
	}
	programs = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return dir, err
	}
	linked := filepath.Join(dir, programName)
	if built = os.Getenv("TEST_PROGRAM"); built == "" {
		if built, err = linked, build(linked, source); err != nil {
			return dir, err
		}
	} else if err := os.Symlink(built, linked); err != nil {
		return dir, err
	}
	for _, name := range istiosNames {
		if err := os.Symlink(programName, filepath.Join(dir, name)); err != nil {
			return dir, err
		}
	}
	return dir, os.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// build builds a program as it is released.
func build(path, source string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return nil
}

// needed are the programs that the tests run.
var needed = []string{
	"ip", "nft", "iptables-nft-restore", "ip6tables-nft-restore", "iptables-legacy-restore", "ip6tables-legacy-restore", "unshare", "setpriv", "mount",
}

// needKernel skips a test on a machine that cannot run it.
func needKernel(t testing.TB, more ...string) {
	t.Helper()
	kernel.Need(t, append(needed, more...)...)
}
