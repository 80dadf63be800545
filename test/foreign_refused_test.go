package test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"istio-init/iptables/xtables"
	"istio-init/netutil/inet"
	"istio-init/test/kernel"
)

// TestForeignRuleThatTheKernelRefusesAgainIsNamed: a rule names a pinned BPF program, whose file
// system is no longer mounted. The kernel refuses the table of legacy also without our rules.
func TestForeignRuleThatTheKernelRefusesAgainIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		lacksBPF(t, err)
	}
	mounted := true
	unmount := func() {
		if mounted {
			mounted = false
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	}
	t.Cleanup(unmount)
	pinned := filepath.Join(dir, "program")
	pinProgram(t, pinned)
	s.restore(xtables.Legacy, inet.IPv4, "*nat\n-A OUTPUT -p icmp -j RETURN\n-A OUTPUT -m bpf --object-pinned "+pinned+" -j RETURN\nCOMMIT\n")
	unmount()
	before := s.state()
	log := s.exits(1, in(xtables.Legacy, asRedirect)...)
	want := "the kernel refuses a foreign rule that is there already: nat OUTPUT: -m bpf --object-pinned " + pinned + " -j RETURN"
	if !strings.Contains(log, want) || strings.Contains(log, "needs of the kernel") || strings.Contains(log, "-p icmp") {
		t.Errorf("the log does not say %q:\n%s", want, log)
	}
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("left changed (-before +after):\n%s", diff)
	}
}

// pinProgram loads a BPF program that accepts every packet, and pins it (bpf(2)).
func pinProgram(t *testing.T, path string) {
	t.Helper()
	bpf := func(command, size uintptr, at unsafe.Pointer) uintptr {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(at), size)
		if errno != 0 {
			lacksBPF(t, fmt.Errorf("bpf, command %d: %w", command, errno))
		}
		return fd
	}
	code := [2]uint64{0x1_0000_00b7, 0x95} // r0 = 1; exit
	license, name := []byte("GPL\x00"), append([]byte(path), 0)
	var pins runtime.Pinner // the structures hold addresses
	pins.Pin(&code)
	pins.Pin(&license[0])
	pins.Pin(&name[0])
	defer pins.Unpin()
	load := struct {
		kind, count   uint32
		code, license uint64
		rest          [12]uint64
	}{kind: unix.BPF_PROG_TYPE_SOCKET_FILTER, count: 2, code: uint64(uintptr(unsafe.Pointer(&code))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	fd := bpf(unix.BPF_PROG_LOAD, unsafe.Sizeof(load), unsafe.Pointer(&load))
	file := os.NewFile(fd, "program")
	defer file.Close()
	pin := struct {
		path      uint64
		fd, flags uint32
	}{path: uint64(uintptr(unsafe.Pointer(&name[0]))), fd: uint32(fd)}
	bpf(unix.BPF_OBJ_PIN, unsafe.Sizeof(pin), unsafe.Pointer(&pin))
}

// lacksBPF skips a test on a machine without BPF.
func lacksBPF(t *testing.T, err error) {
	t.Helper()
	if kernel.Required() {
		t.Fatalf("KERNEL_TESTS=require: no BPF: %v", err)
	}
	t.Skipf("skipped: no BPF (needs CONFIG_BPF_SYSCALL and CAP_BPF): %v", err)
}
