package e2e

import (
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A root is a copy of the root directory of the image, for chroot(1).
type root struct {
	dir   string
	files []string         // that the image has, and links, by their paths inside
	sizes map[string]int64 // of the files
}

// unpackedImage returns the copy, ready for chroot.
func unpackedImage(t *testing.T) root {
	t.Helper()
	needBuilt(t)
	r, err := unpacked()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// unpacked makes the copy, mounts file systems in it as a runtime does, and makes it
// read-only. The user names are those of this machine, which the scenarios use.
var unpacked = sync.OnceValues(func() (root, error) {
	r := root{dir: filepath.Join(store, "image")}
	mounted, err := runPodman("image", "mount", image)
	if err != nil {
		return r, err
	}
	// File capabilities are extended attributes.
	if err := run(exec.Command("cp", "-a", strings.TrimSpace(mounted), r.dir)); err != nil {
		return r, err
	}
	if _, err := runPodman("image", "unmount", image); err != nil {
		return r, err
	}
	if err := r.list(); err != nil {
		return r, err
	}
	return r, run(exec.Command("/bin/sh", "-ec", `
		cd "$1"
		mkdir -p dev proc
		touch etc/resolv.conf
		mount --bind . .
		cd "$1"
		for dir in dev proc; do mount --rbind /$dir $dir; done
		for file in resolv.conf passwd group; do mount --bind /etc/$file etc/$file; done
		mount -o remount,bind,ro,suid .
	`, "sh", r.dir))
})

// list finds the files.
func (r *root) list() error {
	r.sizes = map[string]int64{}
	return filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file := strings.TrimPrefix(path, r.dir)
		r.files = append(r.files, file)
		info, err := d.Info()
		if err == nil && info.Mode().IsRegular() {
			r.sizes[file] = info.Size()
		}
		return err
	})
}

// behind returns the files that the kernel also opens for a file: the target of a link, and
// the loader of a program.
func (r root) behind(t *testing.T, file string) []string {
	t.Helper()
	var files []string
	if end, err := os.Readlink(filepath.Join(r.dir, file)); err == nil {
		file = filepath.Join(filepath.Dir(file), end)
		files = append(files, file)
	}
	opened, err := elf.Open(filepath.Join(r.dir, file))
	if err != nil { // no program
		return files
	}
	defer opened.Close()
	if section := opened.Section(".interp"); section != nil {
		text, err := section.Data()
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, strings.TrimRight(string(text), "\x00"))
	}
	return files
}
