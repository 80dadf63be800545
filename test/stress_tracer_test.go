package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"istio-init/netutil"
)

// A tracer runs a program and kills it, or some of its children, before its n-th relevant
// system call. Relevant are calls that change the packet filter, routes or addresses, that
// write to another process, and that start or end one. The state changes only between two
// such calls, so counting n up covers every state in which the program can be killed.
//
// It uses ptrace(2), because strace(1) counts calls for each thread separately.
type tracer struct {
	n       int
	victims victims
	during  func() // called after the kill, while all other processes are stopped
	// before is called before each system call, while its thread is stopped; nil: nothing.
	before func(thread int, call syscallInfo)

	tasks  map[int]*task
	count  int
	killed string // what was killed, and where; "" when there are fewer calls
}

// victims says which processes are killed when the call is reached.
type victims uint8

const (
	everybody   victims = iota // as when the container ends
	programOnly                // as by the OOM killer; its children continue
	childOnly                  // counts only the calls of children
	asked                      // only the program, by a signal that it handles
)

func (v victims) String() string {
	return [...]string{"everybody", "the program alone", "a child alone", "asked to end"}[v]
}

// A task is a traced thread.
type task struct {
	process int
	begun   bool // its first stop, by which the kernel announces it, is over
}

// run runs the command inside the namespace and returns its exit code, -1 if it was
// killed, and its output. All its children have ended when run returns.
func (tr *tracer) run(netns string, cmd *exec.Cmd) (exit int, said string, err error) {
	tr.tasks = map[int]*task{}
	file, err := os.CreateTemp("", "said") // a pipe would need a reader
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	err = onChildlessThread(netns, func() error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		exit, err = tr.follow(cmd.Process.Pid)
		return err
	})
	if err != nil {
		return 0, "", err
	}
	_ = cmd.Process.Release() // it has been waited for
	text, err := os.ReadFile(file.Name())
	return exit, string(text), err
}

// onChildlessThread calls fn on a locked thread in the namespace that has no child,
// so that whatever it waits for is its own.
func onChildlessThread(netns string, fn func() error) error {
	return netutil.InNetNS(netns, func() error {
		children, err := os.ReadFile("/proc/thread-self/children")
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(children)) > 0 {
			return onChildlessThread(netns, fn) // another thread, while this one is held
		}
		return fn()
	})
}

// follow traces the program, which is stopped at its first instruction, and its children
// until all have ended.
func (tr *tracer) follow(program int) (exit int, err error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(program, &status, 0, nil); err != nil {
		return 0, fmt.Errorf("wait for the program to start: %w", err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
		unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(program, options); err != nil {
		return 0, fmt.Errorf("trace: %w", err)
	}
	tr.tasks[program] = &task{process: program, begun: true}
	if err := unix.PtraceSyscall(program, 0); err != nil {
		return 0, fmt.Errorf("trace: %w", err)
	}
	for {
		pid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			return exit, nil
		case err != nil:
			return exit, fmt.Errorf("wait for a traced thread: %w", err)
		case status.Stopped():
			tr.stopped(pid, program, status)
		default:
			delete(tr.tasks, pid)
			if pid == program {
				exit = status.ExitStatus() // -1: by a signal
			}
		}
	}
}

// stopped handles a stopped thread and lets it continue.
func (tr *tracer) stopped(pid, program int, status unix.WaitStatus) {
	t := tr.tasks[pid]
	if t == nil {
		t = &task{process: processOf(pid)}
		tr.tasks[pid] = t
	}
	signal := int(status.StopSignal())
	switch {
	case signal == int(unix.SIGTRAP)|0x80:
		if call, entering := syscallOf(pid); tr.before != nil && entering {
			tr.before(pid, call)
		}
		if signal = 0; tr.matters(pid, program, t) {
			if tr.count++; tr.count == tr.n {
				tr.kill(pid, program, t)
				if tr.during != nil {
					tr.during()
				}
			}
		}
	case signal == int(unix.SIGTRAP): // an exec or a new thread or process
		signal = 0
	case signal == int(unix.SIGSTOP) && !t.begun:
		signal = 0
	}
	t.begun = true
	_ = unix.PtraceSyscall(pid, signal) // ESRCH: it was killed meanwhile
}

// processOf returns the process of a thread.
func processOf(thread int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	_, rest, _ := strings.Cut(string(text), "\nTgid:")
	line, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return thread // it has ended
	}
	return pid
}

func (tr *tracer) kill(pid, program int, caller *task) {
	call, _ := syscallOf(pid)
	name, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	tr.killed = fmt.Sprintf("%s, at call %d, %s of %s", tr.victims, tr.n, callNames[call.number], filepath.Base(name))
	switch tr.victims {
	case programOnly:
		_ = unix.Kill(program, unix.SIGKILL)
	case childOnly:
		_ = unix.Kill(caller.process, unix.SIGKILL)
	case asked:
		_ = unix.Kill(program, unix.SIGTERM)
	default:
		for _, t := range tr.tasks {
			_ = unix.Kill(t.process, unix.SIGKILL)
		}
	}
}

// callNames are the calls that may be relevant.
var callNames = map[uint64]string{
	unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_SETSOCKOPT: "setsockopt", unix.SYS_WRITE: "write",
	unix.SYS_EXECVE: "execve", unix.SYS_EXIT_GROUP: "exit",
}

// matters reports whether a thread is about to make a relevant call.
func (tr *tracer) matters(pid, program int, t *task) bool {
	if tr.victims == childOnly && t.process == program {
		return false
	}
	call, entering := syscallOf(pid)
	if !entering || callNames[call.number] == "" {
		return false
	}
	switch call.number {
	case unix.SYS_WRITE: // to a pipe, not the log
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.process, call.args[0]))
		return strings.HasPrefix(target, "pipe:")
	case unix.SYS_SETSOCKOPT:
		return slices.Contains([]uint64{unix.SOL_IP, unix.SOL_IPV6}, call.args[1])
	case unix.SYS_SENDTO:
		return !asksOnly(pid, call)
	}
	return true
}

// asksOnly reports whether a message to netlink changes nothing: it asks for a dump
// (netlink(7), NLM_F_DUMP), or gets (rtnetlink(7); linux/netfilter/nf_tables.h).
func asksOnly(pid int, call syscallInfo) bool {
	kind, flags, ok := netlinkHeader(pid, call)
	switch {
	case !ok:
		return false
	case flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP:
		return true
	case kind < 0x100:
		return kind%4 == unix.RTM_GETLINK%4
	case kind>>8 == unix.NFNL_SUBSYS_NFTABLES:
		return slices.Contains([]uint16{unix.NFT_MSG_GETTABLE, unix.NFT_MSG_GETCHAIN, unix.NFT_MSG_GETRULE, unix.NFT_MSG_GETSET, unix.NFT_MSG_GETGEN}, kind&0xff)
	}
	return kind>>8 == unix.NFNL_SUBSYS_NFT_COMPAT // only queries
}

// netlinkHeader returns the type and the flags of the message that a sendto sends.
func netlinkHeader(pid int, call syscallInfo) (kind, flags uint16, ok bool) {
	header := make([]byte, unix.SizeofNlMsghdr)
	n, err := unix.PtracePeekData(pid, uintptr(call.args[1]), header)
	return binary.NativeEndian.Uint16(header[4:]), binary.NativeEndian.Uint16(header[6:]), err == nil && n == len(header)
}

// syscallInfo is struct ptrace_syscall_info of linux/ptrace.h, on entry.
type syscallInfo struct {
	op      uint8
	_       [3]uint8
	arch    uint32
	ip, sp  uint64
	number  uint64
	args    [6]uint64
	retData uint32
}

// syscallOf returns the call at which a thread has stopped, and whether it is about
// to make it.
func syscallOf(pid int) (info syscallInfo, entering bool) {
	const getSyscallInfo, entry = 0x420e, 1 // PTRACE_GET_SYSCALL_INFO, PTRACE_SYSCALL_INFO_ENTRY
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	return info, errno == 0 && info.op == entry
}
