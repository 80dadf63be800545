// Command dist makes a release: for each architecture a tarball and the list of the modules
// in its binary, and the SHA-256 sums of all files. The same sources, version, time and
// Go release always make the same bytes.
//
// Run it by make dist. It has its own module, so that its dependencies are not those of the
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

// program is the name of the released program.
const program = "istio-init"

// architectures are those of GOARCH that are released.
var architectures = []string{"amd64", "arm64"}

// A release has the version and time for the names and contents of the files.
type release struct {
	version string
	time    time.Time // of every file, and of the lists: when the sources were last changed
	ldflags string
	out     string // folder to write to
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
	return r.make(ctx)
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
	here := filepath.Join(temp, program)
	if err := r.build(ctx, "", here); err != nil {
		return err
	}
	common, err := r.common(ctx, here)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, arch := range architectures {
		files, err := r.files(ctx, arch, filepath.Join(temp, arch, program), common)
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

// files returns the released files of an architecture.
func (r release) files(ctx context.Context, arch, binary string, common []file) ([]file, error) {
	if err := r.build(ctx, arch, binary); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	list, err := r.moduleList(binary)
	if err != nil {
		return nil, err
	}
	licenses, err := licenseTexts(ctx, binary)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s-%s-linux-%s", program, r.version, arch)
	packed, err := tarball(name, r.time, append([]file{
		{name: program, data: data, executable: true},
		{name: "modules.cdx.json", data: list},
		{name: "LICENSES-OF-MODULES", data: licenses},
	}, common...))
	if err != nil {
		return nil, err
	}
	return []file{{name: name + ".cdx.json", data: list}, {name: name + ".tar.gz", data: packed}}, nil
}
