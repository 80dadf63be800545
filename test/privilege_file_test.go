package test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/executable"
)

// asUser runs a program like a container of the proxy's user, whose capabilities are those of
// the program's file.
const asUser = `exec setpriv --reuid=1337 --regid=1337 --clear-groups "$@"`

// withCapabilities returns a copy of the program whose file has capabilities, in a directory that
// every user can read.
func withCapabilities(t *testing.T, caps ...int) (program string) {
	t.Helper()
	dir := everybodysDir(t, 0o755)
	program = filepath.Join(dir, programName)
	text, err := os.ReadFile(built)
	if err == nil {
		err = executable.Write(program, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	const revision2 = 0x02000000
	var set uint32
	for _, c := range caps {
		set |= 1 << c
	}
	var attr []byte // struct vfs_cap_data (linux/capability.h)
	for _, word := range []uint32{revision2, set, 0, 0, 0} {
		attr = binary.LittleEndian.AppendUint32(attr, word)
	}
	if err := unix.Setxattr(program, "security.capability", attr, 0); err != nil {
		t.Fatal(err)
	}
	return program
}

// ofImage are the capabilities of the image with iptables; native needs the first.
var ofImage = []int{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}

// everybodysDir returns a directory that other users can reach.
func everybodysDir(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "everybody") //nolint:usetesting // only root can reach that of t.TempDir
	if err == nil {
		err = os.Chmod(dir, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestCapabilitiesOfTheFileAreNotForProgramsOfTheCaller: PATH leads to programs of the caller,
// and the variables of iptables to extensions that do not exist.
func TestCapabilitiesOfTheFileAreNotForProgramsOfTheCaller(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for _, b := range backends {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			caps := ofImage
			if b == native {
				caps = ofImage[:1]
			}
			program, evil := withCapabilities(t, caps...), everybodysDir(t, 0o777)
			s := newSite(t, "PATH="+evil+":/usr/sbin:/usr/bin", "XTABLES_LIBDIR=/nowhere", "XTABLES_LOCKFILE="+evil+"/lock", "LD_PRELOAD=/nowhere")
			for _, v := range xtables.Variants {
				for _, f := range inet.Families {
					for _, name := range []string{tool(v, f), saver(v, f)} {
						script := fmt.Sprintf("#!/bin/sh\ntouch %s/started\nexit 1\n", evil)
						if err := executable.Write(filepath.Join(evil, name), []byte(script)); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			for _, args := range [][]string{in(b, asRedirect), in(b, asTProxy), {cleanCommand}} {
				log, code := s.start("/bin/sh", append([]string{"-ec", asUser, "sh", program}, args...)...)
				if code != 0 {
					t.Errorf("%s: exit code %d:\n%s", args, code, log)
				}
			}
			made, err := filepath.Glob(evil + "/[sl]*")
			if err != nil || len(made) > 0 {
				t.Errorf("a program or variable of the caller was used: %v %v", made, err)
			}
		})
	}
}

// TestCapabilitiesOfTheFileOpenNoFile: the files that a caller names are opened with the
// caller's rights. NET_ADMIN and NET_RAW override no permission of a file.
func TestCapabilitiesOfTheFileOpenNoFile(t *testing.T) {
	t.Parallel()
	needKernel(t)
	program, dir := withCapabilities(t, ofImage...), everybodysDir(t, 0o755)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("proxy-uid: 1337\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		env  string
		args []string
	}{
		"config":     {"A=", []string{applyCommand, "--dry-run", "--config", secret}},
		"rules":      {"A=", []string{"check", "--rules", secret}},
		"preview":    {"DRY_RUN_FILE_PATH=" + secret, []string{applyCommand, "--dry-run"}},
		"log":        {"A=", []string{applyCommand, "--dry-run", "--log_target", secret}},
		"another-ns": {"A=", []string{applyCommand, "--network-namespace", secret}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tt.env)
			log, code := s.start("/bin/sh", append([]string{"-ec", asUser, "sh", program}, tt.args...)...)
			if code == 0 || !strings.Contains(log, secret+": permission denied") {
				t.Errorf("exit code %d:\n%s", code, log)
			}
		})
	}
}
