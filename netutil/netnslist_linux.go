package netutil

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A NetNS is a network namespace of the machine.
type NetNS struct {
	id        netNSID
	Files     []string // that it is bound to, by name
	PID       int      // the lowest one of its processes; 0: it has none that can be seen
	Processes int      // how many can be seen
	// Command and Container are those of PID, as far as they are known.
	Command string
	Container
}

// A netNSID is the identity of a namespace.
type netNSID struct{ dev, ino uint64 }

// Inode returns the number by which /proc and lsns(8) name it.
func (n *NetNS) Inode() uint64 { return n.id.ino }

// A Container is what the control group of a process tells.
type Container struct {
	ID     string // 64 hexadecimal digits; "": not known
	PodUID string // of Kubernetes; "": not known
}

// A NetNSList is the network namespaces that can be found.
type NetNSList struct {
	Found  []NetNS
	Hidden int      // processes whose namespace may not be read
	Stale  []string // files under /run/netns that are no namespaces
}

// ListNetNS finds network namespaces by the files of ip-netns(8), by all mounts of this mount
// namespace and of that of process 1, and by all processes. It enters none. What comes or
// goes meanwhile may be missing.
func ListNetNS(ctx context.Context) (*NetNSList, error) {
	l := &netNSFinder{all: map[netNSID]*NetNS{}}
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	l.dev = idOf(own).dev
	for _, dir := range []string{namedNetNS, "/var/run/netns"} {
		l.addDirectory(dir)
	}
	l.addMounts("/proc/self/mountinfo", "")
	if mounts, err := os.Readlink("/proc/1/ns/mnt"); err == nil {
		if here, err := os.Readlink("/proc/self/ns/mnt"); err != nil || here != mounts {
			l.addMounts("/proc/1/mountinfo", "/proc/1/root")
		}
	}
	if err := l.addProcesses(ctx); err != nil {
		return nil, err
	}
	return l.list(), nil
}

// A netNSFinder collects namespaces.
type netNSFinder struct {
	all    map[netNSID]*NetNS
	dev    uint64 // of all namespaces (fs/nsfs.c has one file system)
	hidden int
	stale  []string
}

func idOf(info fs.FileInfo) netNSID {
	stat, _ := info.Sys().(*syscall.Stat_t)
	return netNSID{stat.Dev, stat.Ino}
}

// at returns the namespace of an identity.
func (l *netNSFinder) at(id netNSID) *NetNS {
	if l.all[id] == nil {
		l.all[id] = &NetNS{id: id}
	}
	return l.all[id]
}

// addDirectory adds the files of a directory.
func (l *netNSFinder) addDirectory(dir string) {
	entries, _ := os.ReadDir(dir) // none: nobody has used ip-netns(8)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case idOf(info).dev != l.dev:
			if dir == namedNetNS {
				l.stale = append(l.stale, path)
			}
		default:
			l.addFile(path, info)
		}
	}
}

// addFile adds a file that a network namespace is bound to.
func (l *netNSFinder) addFile(path string, info fs.FileInfo) {
	n := l.at(idOf(info))
	same := func(have string) bool { // /var/run is a link to /run
		return filepath.Base(have) == filepath.Base(path)
	}
	if !slices.ContainsFunc(n.Files, same) {
		n.Files = append(n.Files, path)
	}
}

// addMounts adds the network namespaces among mounts (proc_pid_mountinfo(5)). root leads to
// the root directory of their mount namespace.
func (l *netNSFinder) addMounts(mountinfo, root string) {
	text, _ := os.ReadFile(mountinfo)
	for line := range strings.Lines(string(text)) {
		const of, at = 3, 4
		words := strings.Fields(line)
		if len(words) <= at || !strings.HasPrefix(words[of], "net:[") {
			continue
		}
		path := root + unescapeMount(words[at])
		if info, err := os.Stat(path); err == nil && idOf(info).dev == l.dev {
			l.addFile(path, info)
		}
	}
}

// unescapeMount undoes the escapes of a path in mountinfo (fs/proc_namespace.c, mangle).
func unescapeMount(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace(path)
}

// addProcesses adds the namespaces of all processes.
func (l *netNSFinder) addProcesses(ctx context.Context) error {
	proc, err := os.Open("/proc")
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("list network namespaces: %w", context.Cause(ctx))
		}
		info, err := os.Stat("/proc/" + name + "/ns/net")
		switch {
		case errors.Is(err, fs.ErrPermission):
			l.hidden++
		case err == nil: // else it has ended
			n := l.at(idOf(info))
			if n.Processes++; n.PID == 0 || pid < n.PID {
				n.PID = pid
			}
		}
	}
	return nil
}

// list returns the namespaces by name, and then those without one by process.
func (l *netNSFinder) list() *NetNSList {
	out := &NetNSList{Hidden: l.hidden, Stale: l.stale}
	for _, n := range l.all {
		slices.Sort(n.Files)
		if n.PID != 0 {
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", n.PID))
			n.Command = strings.TrimSuffix(string(comm), "\n")
			group, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", n.PID))
			n.Container = containerOf(string(group))
		}
		out.Found = append(out.Found, *n)
	}
	slices.SortFunc(out.Found, func(a, b NetNS) int {
		return cmp.Or(cmp.Compare(min(len(b.Files), 1), min(len(a.Files), 1)), slices.Compare(a.Files, b.Files), cmp.Compare(a.PID, b.PID), cmp.Compare(a.id.ino, b.id.ino))
	})
	return out
}

// The names that container runtimes and the kubelet give to control groups, as in
// kubepods-burstable-pod3f2b1c6a_....slice/cri-containerd-HEX.scope, by systemd or by cgroupfs.
// They are compiled when the first is looked for: it takes as long as 60 system calls.
var (
	containerID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?$`) })
	podUID      = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`[/-]pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})(?:\.slice)?/`)
	})
)

// containerOf reads the container of a process from its cgroup file (cgroups(7)).
func containerOf(cgroup string) (c Container) {
	s := bufio.NewScanner(strings.NewReader(cgroup))
	for s.Scan() {
		if found := containerID().FindStringSubmatch(s.Text()); found != nil {
			c.ID = found[1]
		}
		if found := podUID().FindStringSubmatch(s.Text()); found != nil {
			c.PodUID = strings.ReplaceAll(found[1], "_", "-")
		}
	}
	return c
}

// ErrNetNSGone says that a network namespace is not there any more.
var ErrNetNSGone = errors.New("it is gone")

// In calls fn inside the namespace, as [InNetNS] does.
func (n *NetNS) In(fn func() error) error {
	paths := slices.Clone(n.Files)
	if n.PID != 0 {
		paths = append(paths, fmt.Sprintf("/proc/%d/ns/net", n.PID))
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || idOf(info) != n.id { // the file, or the number of the process, has another one
			continue
		}
		entered := false
		err = InNetNS(path, func() error {
			if here, err := os.Stat("/proc/thread-self/ns/net"); err != nil || idOf(here) != n.id {
				return err
			}
			entered = true
			return fn()
		})
		if entered || err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return ErrNetNSGone
}
