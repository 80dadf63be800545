package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Directories are where a runtime looks for plugins and for configurations.
type Directories struct {
	Bin, Conf string
}

// Binary is the path of the plugin.
func (d Directories) Binary() string { return filepath.Join(d.Bin, pluginType) }

const (
	dropInName  = "90-istio-cni.conf" // in a directory with the name of a network
	ownName     = "istio-cni.conf"    // of a configuration that is ours alone, as Istio calls it
	savedSuffix = ".istio-cni-saved"  // of a configuration that was set aside
	tempPattern = ".istio-cni-*.tmp"  // of files that have not got their name yet; no runtime reads them
	mostBytes   = 2 << 20             // of a configuration, as containerd
	mostBinary  = 64 << 20            // of a plugin: the pod of the installer may use 128 MiB
)

// A File is a file as it was read.
type File struct {
	Path     string // in the directory of the node
	Target   string // where the content is: Path, or what it leads to as a symbolic link
	Content  []byte
	Mode     fs.FileMode
	UID, GID int
	Err      error // why it could not be read
}

// A Node is what was read of a node.
type Node struct {
	Dirs     Directories
	Binary   *File    // nil: none
	Confs    []File   // that a runtime reads, in their order
	Nets     []string // directories beside them
	Empty    []string // those of Nets without a file
	DropIns  []File   // of ours, in directories with the names of networks
	Saved    []File   // configurations that were set aside
	Temps    []string // left by a run that was killed
	Runtimes []Runtime
}

// ReadNode reads what an installation depends on. It changes nothing.
func ReadNode(dirs Directories, runtimes []string) (Node, error) {
	n := Node{Dirs: dirs}
	for _, dir := range []string{dirs.Conf, dirs.Bin} {
		if wasRemoved(dir) {
			return n, fmt.Errorf("directory %s: %w", dir, ErrRemoved)
		}
	}
	if _, err := os.Lstat(dirs.Binary()); err == nil {
		f := readFile(dirs.Binary(), mostBinary)
		n.Binary = &f
	}
	entries, err := os.ReadDir(dirs.Conf)
	if err != nil {
		return n, fmt.Errorf("directory of configurations: %w", err)
	}
	for _, e := range entries {
		n.add(e)
	}
	for _, dir := range []string{dirs.Bin, dirs.Conf} {
		temps, err := filepath.Glob(filepath.Join(dir, tempPattern))
		if err != nil {
			return n, fmt.Errorf("directory %s: %w", dir, err)
		}
		n.Temps = append(n.Temps, temps...)
	}
	n.Runtimes = readRuntimes(runtimes)
	return n, nil
}

// isTemp reports whether a path is that of a temporary file of ours.
func isTemp(path string) bool {
	ours, err := filepath.Match(tempPattern, filepath.Base(path))
	return ours && err == nil
}

// ErrRemoved says that the directory that is mounted here exists no more: what the node has by its
// name now is seen only by a container that starts anew.
var ErrRemoved = errors.New("it was removed while it was mounted here; start the container again")

// wasRemoved reports whether a directory has no name any more, but as a mount.
func wasRemoved(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Nlink == 0
}

// add adds what a name in the directory of configurations stands for.
func (n *Node) add(e fs.DirEntry) {
	path := filepath.Join(n.Dirs.Conf, e.Name())
	switch {
	case e.IsDir():
		n.Nets = append(n.Nets, path)
		if inside, err := os.ReadDir(path); err == nil && len(inside) == 0 {
			n.Empty = append(n.Empty, path)
		}
		inside := filepath.Join(path, dropInName)
		if _, err := os.Lstat(inside); err == nil {
			n.DropIns = append(n.DropIns, readFile(inside, mostBytes))
		}
	case slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(path)):
		n.Confs = append(n.Confs, readFile(path, mostBytes))
	case strings.HasSuffix(path, savedSuffix):
		n.Saved = append(n.Saved, readFile(path, mostBytes))
	}
}

// readFile reads a regular file.
func readFile(path string, most int64) File {
	f := File{Path: path, Target: path}
	f.Err = func() error {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return err
		}
		if l, err := os.Lstat(path); err == nil && l.Mode()&fs.ModeSymlink != 0 {
			f.Target = target
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		switch {
		case !info.Mode().IsRegular():
			return errors.New("not a regular file")
		case info.Size() > most:
			return fmt.Errorf("%d bytes, at most %d are read", info.Size(), most)
		}
		f.Mode = info.Mode()
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			f.UID, f.GID = int(s.Uid), int(s.Gid)
		}
		f.Content, err = os.ReadFile(path)
		return err
	}()
	return f
}
