package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A file is a file of a tarball.
type file struct {
	name       string // with slashes, below the top folder
	data       []byte
	executable bool
}

// build makes the programs for an architecture in a directory; "" is that of this machine.
// They do not contain the path of the sources or version control data.
func (r release) build(ctx context.Context, arch, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", r.ldflags, "-o", dir+"/")
	for _, name := range programs {
		cmd.Args = append(cmd.Args, "./cmd/"+name)
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if arch != "" {
		cmd.Env = append(cmd.Env, "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0")
	}
	_, err := output(cmd)
	return err
}

// output runs a command and returns its stdout; the error has its stderr.
func output(cmd *exec.Cmd) (string, error) {
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}

// documents are the files and folders of the repository that are released.
var documents = []string{"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "docs", "examples"}

// common returns the files that are the same for every architecture. here is the binary
// for this machine, which prints its completions.
func (r release) common(ctx context.Context, here string) ([]file, error) {
	tell := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, here, args...)
		cmd.Env = []string{} // nothing may change what it says
		return output(cmd)
	}
	var files []file
	for shell, name := range map[string]string{"bash": program, "zsh": "_" + program, "fish": program + ".fish"} {
		script, err := tell("completion", shell)
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: "completions/" + shell + "/" + name, data: []byte(script)})
	}
	pages, err := r.manPages(ctx)
	if err != nil {
		return nil, err
	}
	files = append(files, pages...)
	for _, document := range documents {
		some, err := filesOf(document)
		if err != nil {
			return nil, err
		}
		files = append(files, some...)
	}
	return files, nil
}

// manPages returns the man pages. A test of the program writes them, because package main
// cannot be imported.
func (r release) manPages(ctx context.Context) (files []file, err error) {
	dir, err := os.MkdirTemp("", "man")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := exec.CommandContext(ctx, "go", "test", "-ldflags", "-X istio-init/cmd/istio-init.release="+r.version,
		"-run", "^TestManPagesHaveEveryFlag$", "./cmd/"+program, "-args", "-man", dir)
	cmd.Env = append(os.Environ(), "TZ=UTC", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	if _, err := output(cmd); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		page, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name: "man/" + entry.Name(), data: page})
	}
	return files, err
}

// filesOf reads a file, or all files of a folder.
func filesOf(root string) (files []file, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, file{name: filepath.ToSlash(path), data: data})
		return err
	})
	return files, err
}
