// Command dist makes a release: for each architecture a tarball, a deb, an rpm and the lists of
// the modules in its programs, and the SHA-256 sums of all files. The same sources, version, time
// and Go release always make the same bytes. It also installs the programs, and lists what is in
// an image.
//
// Run it by make dist, install, uninstall or image-list. It has its own module, so that its dependencies are not those of the
// program, and works in the top folder of the repository: go run -C hack/dist .
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// program is the name of the release. programs are those in it, all built from ./cmd.
const program = "istio-init"

var programs = []string{program, "istio-cni"}

// architectures are those of GOARCH that are released.
var architectures = []string{"amd64", "arm64"}

// A release has the version and time for the names and contents of the files.
type release struct {
	version string
	time    time.Time // of every file, and of the lists: when the sources were last changed
	ldflags string
	out     string // folder to write to
}

// An installation puts the program for this machine below a directory, or takes it away.
type installation struct {
	dir, prefix string
	remove      bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "dist: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	var r release
	var seconds int64
	flag.StringVar(&r.version, "version", "", "what the binary calls itself, and the names of the files")
	flag.Int64Var(&seconds, "time", 0, "the time of every file, in seconds since 1970")
	flag.StringVar(&r.ldflags, "ldflags", "", "flags for the linker")
	flag.StringVar(&r.out, "out", "bin/dist", "the folder to write to; what is in it goes")
	var in installation
	flag.StringVar(&in.prefix, "install", "", "install below this absolute path, instead of making a release")
	flag.StringVar(&in.dir, "destdir", "", "an absolute path in front of the installed files")
	flag.BoolVar(&in.remove, "uninstall", false, "with -install: remove the files")
	imageFile := flag.String("image", "", "instead of making a release print the list of what is in an image: its files as a tar archive, - is stdin")
	flag.Parse()
	r.time = time.Unix(seconds, 0).UTC()
	if flag.NArg() > 0 || !isFileName(r.version) {
		return fmt.Errorf("-version %q: it is needed, and is part of the name of a file", r.version)
	}
	if err := os.Chdir("../.."); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch {
	case *imageFile != "":
		return r.imageList(*imageFile, os.Stdout)
	case in.prefix != "":
		return r.install(ctx, in)
	}
	return r.make(ctx)
}

// install builds the program for this machine and installs it with all that belongs to it.
func (r release) install(ctx context.Context, in installation) error {
	if !filepath.IsAbs(in.prefix) || in.dir != "" && !filepath.IsAbs(in.dir) {
		return fmt.Errorf("install to %q below %q: want absolute paths", in.prefix, in.dir)
	}
	temp, err := os.MkdirTemp("", "install")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if err := r.build(ctx, "", temp); err != nil {
		return err
	}
	common, err := r.common(ctx, filepath.Join(temp, program))
	if err != nil {
		return err
	}
	content, err := r.content(ctx, temp, common)
	if err != nil {
		return err
	}
	content = installed(content, filepath.Clean(in.prefix))
	if in.remove {
		return remove(in.dir, content)
	}
	return write(in.dir, content)
}

// isFileName reports whether a version can be part of the name of a file and of an
// argument for the linker.
func isFileName(version string) bool {
	for _, c := range version {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != '_' {
			return false
		}
	}
	return version != "" && version[0] != '-' && version[0] != '.'
}

// make writes all files, with the sums last.
func (r release) make(ctx context.Context) (err error) {
	if err := errors.Join(os.RemoveAll(r.out), os.MkdirAll(r.out, 0o755)); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "dist")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if err := r.build(ctx, "", temp); err != nil {
		return err
	}
	common, err := r.common(ctx, filepath.Join(temp, program))
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, arch := range architectures {
		files, err := r.files(ctx, arch, filepath.Join(temp, arch), common)
		if err != nil {
			return fmt.Errorf("%s: %w", arch, err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(r.out, f.name), f.data, 0o644); err != nil {
				return err
			}
			fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(f.data), f.name)
		}
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// files returns the released files of an architecture, and builds its programs in dir.
func (r release) files(ctx context.Context, arch, dir string, common []file) (all []file, err error) {
	if err := r.build(ctx, arch, dir); err != nil {
		return nil, err
	}
	content, err := r.content(ctx, dir, common)
	if err != nil {
		return nil, err
	}
	suffix := fmt.Sprintf("-%s-linux-%s", r.version, arch)
	packed, err := tarball(program+suffix, r.time, content)
	if err != nil {
		return nil, err
	}
	packages, err := r.packages(arch, content)
	if err != nil {
		return nil, err
	}
	for _, f := range content {
		if name, found := strings.CutSuffix(f.name, modulesSuffix); found {
			all = append(all, file{name: name + suffix + modulesSuffix, data: f.data})
		}
	}
	return append(append(all, file{name: program + suffix + ".tar.gz", data: packed}), packages...), nil
}

// modulesSuffix ends the name of a list of modules, which begins with the program's.
const modulesSuffix = ".cdx.json"

// content returns what a tarball and a package have: the programs in dir, the lists of
// their modules with the licenses, and the common files.
func (r release) content(ctx context.Context, dir string, common []file) (all []file, err error) {
	var binaries []string
	for _, name := range programs {
		binary := filepath.Join(dir, name)
		binaries = append(binaries, binary)
		data, err := os.ReadFile(binary)
		if err != nil {
			return nil, err
		}
		list, err := r.moduleList(binary)
		if err != nil {
			return nil, err
		}
		all = append(all, file{name: name, data: data, executable: true}, file{name: name + modulesSuffix, data: list})
	}
	licenses, err := licenseTexts(ctx, binaries...)
	if err != nil {
		return nil, err
	}
	return append(append(all, file{name: "LICENSES-OF-MODULES", data: licenses}), common...), nil
}
