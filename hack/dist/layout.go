package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unit is the systemd unit of a VM; it names the program by its path.
const unit = "examples/vm/istio-init.service"

// places says where files of a tarball are installed below the prefix, by the beginnings
// of their names. All others are documents.
var places = []struct{ from, to string }{
	{"man/", "share/man/man8/"},
	{"completions/bash/", "share/bash-completion/completions/"},
	{"completions/zsh/", "share/zsh/site-functions/"},
	{"completions/fish/", "share/fish/vendor_completions.d/"},
	{unit, "lib/systemd/system/istio-init.service"},
}

// installed returns the files by their absolute paths after an installation, sorted.
// Of the prefix /usr the unit runs /usr/bin/istio-init.
func installed(files []file, prefix string) (all []file) {
	for _, f := range files {
		if f.name == unit {
			f.data = bytes.ReplaceAll(f.data, []byte("/usr/local/bin/"), []byte(prefix+"/bin/"))
		}
		f.name = prefix + "/" + place(f)
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b file) int { return cmp.Compare(a.name, b.name) })
	return all
}

func place(f file) string {
	if f.executable {
		return "bin/" + f.name
	}
	for _, p := range places {
		if rest, found := strings.CutPrefix(f.name, p.from); found {
			return p.to + rest
		}
	}
	return "share/doc/" + program + "/" + f.name
}

// write writes files below a directory, by their absolute paths.
func write(dir string, files []file) error {
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := replace(path, f); err != nil {
			return fmt.Errorf("install %s: %w", path, err)
		}
	}
	return nil
}

// replace renames a complete file into place, since a running program cannot be written.
func replace(path string, f file) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".install-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // renamed, if nothing failed
	mode := os.FileMode(0o644)
	if f.executable {
		mode = 0o755
	}
	_, err = temp.Write(f.data)
	if err := cmp.Or(err, temp.Chmod(mode), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// remove removes installed files, and directories that are empty then and only ours.
func remove(dir string, files []file) error {
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return err
		}
		for parent := filepath.Dir(path); strings.Contains(parent, "/doc/"+program); parent = filepath.Dir(parent) {
			_ = os.Remove(parent) // fails unless it is empty
		}
	}
	return nil
}
