package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A Step is one change to a node. It is made in full or not at all, whenever the program is
// killed.
type Step interface {
	String() string
	Do() error
}

// ErrChanged says that a file is no longer what the plan was made from.
var ErrChanged = errors.New("another program changed it meanwhile")

// WriteFile writes a file that a reader sees in full or not at all.
type WriteFile struct {
	Path     string
	Content  []byte
	Mode     fs.FileMode
	UID, GID int    // negative: of whoever writes
	Temp     string // directory of the temporary file, in the same file system
	Was      []byte // what is replaced; nil: there is no file
	Over     bool   // whatever is there is replaced
}

// String tells what is written where.
func (w WriteFile) String() string {
	return fmt.Sprintf("write %s (%d bytes, mode %04o)", w.Path, len(w.Content), w.Mode.Perm())
}

// Do writes a temporary file, brings it to the disk, and renames it.
func (w WriteFile) Do() (err error) {
	defer func() { err = inDirectory("write", w.Path, err) }()
	temp, err := os.CreateTemp(w.Temp, tempPattern)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	if err := w.fill(temp); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if !w.Over {
		if err := unchanged(w.Path, w.Was); err != nil {
			return err
		}
	}
	return rename(temp.Name(), w.Path)
}

// fill gives the temporary file all that the file is to have.
func (w WriteFile) fill(temp *os.File) error {
	if _, err := temp.Write(w.Content); err != nil {
		return err
	}
	if err := temp.Chmod(w.Mode.Perm()); err != nil {
		return err
	}
	info, err := temp.Stat()
	if err != nil {
		return err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && w.UID >= 0 && (int(s.Uid) != w.UID || int(s.Gid) != w.GID) {
		if err := temp.Chown(w.UID, w.GID); err != nil {
			return fmt.Errorf("keep its owner %d:%d, with the capability CHOWN: %w", w.UID, w.GID, err)
		}
	}
	copyLabel(labelled(w.Path), temp.Name())
	return temp.Sync()
}

// MoveFile renames a file.
type MoveFile struct {
	From, To string
	Was      []byte // content of From
}

// String tells the two names.
func (m MoveFile) String() string { return fmt.Sprintf("rename %s to %s", m.From, filepath.Base(m.To)) }

// Do renames it.
func (m MoveFile) Do() error {
	err := unchanged(m.From, m.Was)
	if err == nil {
		err = rename(m.From, m.To)
	}
	return inDirectory("rename", m.From, err)
}

// RemoveFile removes a file.
type RemoveFile struct {
	Path string
	Temp string // directory that runtimes watch, in the same file system
	Was  []byte // its content; nil: whatever it has
}

// String tells the file.
func (r RemoveFile) String() string { return "remove " + r.Path }

// Do removes the file. It renames it first: CRI-O reads its configurations again after a
// rename in their directory, but not after each removal, and no runtime watches the
// directories of drop-in files.
func (r RemoveFile) Do() error {
	err := func() error {
		if r.Was != nil {
			if err := unchanged(r.Path, r.Was); err != nil {
				return err
			}
		}
		temp := r.Path
		if !isTemp(temp) {
			temp = filepath.Join(r.Temp, ".istio-cni-removed.tmp")
			if err := rename(r.Path, temp); err != nil {
				return err
			}
		}
		if err := os.Remove(temp); err != nil {
			return err
		}
		return syncDir(filepath.Dir(temp))
	}()
	return inDirectory("remove", r.Path, err)
}

// MakeDir makes a directory for drop-in files.
type MakeDir struct{ Path string }

// String tells the directory.
func (m MakeDir) String() string { return "make directory " + m.Path }

// Do makes it.
func (m MakeDir) Do() error {
	const all = 0o755 // the files in it have their own mode
	err := os.Mkdir(m.Path, all)
	if err == nil {
		err = syncDir(filepath.Dir(m.Path))
	}
	return inDirectory("make", m.Path, err)
}

// RemoveDir removes a directory, unless others have files in it.
type RemoveDir struct{ Path string }

// String tells the directory.
func (r RemoveDir) String() string { return "remove directory " + r.Path + " if it is empty" }

// Do removes it.
func (r RemoveDir) Do() error {
	err := os.Remove(r.Path)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(filepath.Dir(r.Path))
	}
	return inDirectory("remove", r.Path, err)
}

// unchanged returns ErrChanged where a file does not have the content; nil: where it exists.
func unchanged(path string, was []byte) error {
	now := readFile(path, mostBytes)
	switch {
	case errors.Is(now.Err, fs.ErrNotExist) && was == nil:
		return nil
	case errors.Is(now.Err, fs.ErrNotExist):
		return ErrChanged
	case now.Err != nil:
		return now.Err
	case was == nil || !bytes.Equal(now.Content, was):
		return ErrChanged
	}
	return nil
}

// rename renames a file and brings the new name to the disk.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	err := syncDir(filepath.Dir(to))
	if filepath.Dir(from) != filepath.Dir(to) {
		err = errors.Join(err, syncDir(filepath.Dir(from)))
	}
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// inDirectory names the directory that cannot be written or is not there, and adds what was being done.
func inDirectory(what, path string, err error) error {
	if err == nil {
		return nil
	}
	dir := filepath.Dir(path)
	_, missing := os.Stat(dir)
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s %s: directory %s cannot be written; that takes root, and in a container a mount without readOnly: %w", what, path, dir, err)
	case errors.Is(missing, fs.ErrNotExist):
		return fmt.Errorf("%s %s: there is no directory %s; --platform or --cni-bin-dir names another: %w", what, path, dir, err)
	}
	return fmt.Errorf("%s %s: %w", what, path, err)
}
